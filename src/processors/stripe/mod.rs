//! Stripe: an attempt is a PaymentIntent.
//!
//! An intent is created first, which charges nothing, and its id is stored; only then is it confirmed. So whoever takes an
//! attempt over asks about its intent instead of repeating what may have been executed. An attempt is closed by canceling
//! its intent, or, before there is one, by closing its key, so that nobody confirms an intent that is created later.
//!
//! Where the shopper pays on Stripe's own page, an attempt is a Checkout Session, and its intent comes later: see `session`.
//!
//! Creating intents, sessions and refunds needs an idempotency key. Confirming, capturing and canceling do not: an intent's state allows
//! each once. Under a key, Stripe would repeat a 500 for a day, whatever became of the request.

mod amount;
mod api;
mod books;
mod intent;
mod lookup;
mod operations;
mod session;
mod signature;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::availability::Availability;
use super::books::Books;
use super::keys::Keys;
use super::notifications::{
    Claim, Found, Notification, NotificationRefused, PlatformEvent, Subject,
};
use super::references::{Known, References};
use super::unclear::{self, Unclear};
use super::{AttemptKey, Authorization, OpenedMethod, OperationCall, Processor, Unsupported};
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, CloseAnswer, DeclineCode, Money,
    OperationAnswer, REDIRECT, ReversalAnswer, TOKEN,
};
use crate::store::{Store, StoreError};
use api::{Api, NoObject};
use intent::{CANCELED_THERE, Intent, Status, decline_code};
use webhook::attempt_of;

/// An account at Stripe.
#[derive(Debug, Clone)]
pub struct StripeAccount {
    /// The processor's name here.
    pub name: String,
    /// The secret key: `sk_test_…`.
    pub secret_key: SecretString,
    /// Where its API is: `https://api.stripe.com`.
    pub api: String,
    /// How long a shopper can approve.
    pub action_life: Duration,
    /// The secrets of its webhooks, `whsec_…`, two while one is replaced; none if it sends no webhooks.
    pub webhook_secrets: Vec<SecretString>,
}

/// Equal if nothing about it has changed.
impl PartialEq for StripeAccount {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            secret_key,
            api,
            action_life,
            webhook_secrets,
        } = self;
        let webhooks = webhook_secrets.iter().map(SecretString::expose_secret);
        let others = other.webhook_secrets.iter();
        (name, api, action_life) == (&other.name, &other.api, &other.action_life)
            && secret_key.expose_secret() == other.secret_key.expose_secret()
            && webhooks.eq(others.map(SecretString::expose_secret))
    }
}

/// The processor for one account.
pub struct Stripe {
    api: Api,
    references: References,
    database: Store,
    action_life: Duration,
    availability: Arc<Availability>,
    webhook_secrets: Vec<SecretString>,
    keys: Keys,
}

impl Stripe {
    /// Keeps its references in the database.
    pub fn new(account: &StripeAccount, database: Store) -> Result<Self, rustls::Error> {
        let availability = Arc::new(Availability::new(&account.name));
        let key = account.secret_key.clone();
        Ok(Self {
            api: Api::new(&account.api, key, Arc::clone(&availability))?,
            references: References::new(database.clone(), &account.name),
            keys: Keys::new(database.clone()),
            database,
            action_life: account.action_life,
            availability,
            webhook_secrets: account.webhook_secrets.clone(),
        })
    }

    async fn installation(&self) -> Result<&str, StoreError> {
        self.keys.installation().await
    }

    async fn authorize_token(
        &self,
        authorization: &Authorization<'_>,
        token: &str,
    ) -> Result<Answer, Unclear> {
        let amount = amount::counted(authorization.amount).map_err(|_| Unclear::Unknown)?;
        let key = authorization.key.to_string();
        let intent = match self.references.known(&key).await? {
            Known::Closed => return Err(Unclear::closed()),
            Known::As(id) => self.read(&id).await?,
            Known::Nothing => match self.create(authorization, amount, token).await? {
                Created::Intent(intent) => intent,
                Created::Refused(code) => return Ok(Answer::Declined { code }),
            },
        };
        let asked = is_asked(authorization, (intent.amount, &intent.currency))?;
        if !asked {
            tell_other_amount(authorization.key, &intent.id);
            return Err(Unclear::Unknown);
        }
        if let Some(answer) = self.answer(&intent).await? {
            return Ok(answer);
        }
        self.confirm(&intent, authorization).await
    }

    /// The answer to an authorization; none if the intent has to be confirmed first.
    async fn answer(&self, intent: &Intent) -> Result<Option<Answer>, Unclear> {
        match (intent.status, &intent.redirect) {
            (Status::RequiresAction, Some(url)) => Ok(Some(Answer::ActionRequired {
                url: url.clone(),
                expires_at: self.database.now().await? + self.action_life,
            })),
            _ => Ok(intent.answer()),
        }
    }

    /// Creates an intent and stores its id. Nothing is charged by that.
    async fn create(
        &self,
        authorization: &Authorization<'_>,
        amount: i64,
        token: &str,
    ) -> Result<Created, Unclear> {
        let key = authorization.key.to_string();
        let capture = match authorization.capture {
            CaptureMethod::Automatic => "automatic",
            CaptureMethod::Manual => "manual",
        };
        let (payment, attempt) = (authorization.key.payment, authorization.key.attempt);
        let (payment, attempt) = (payment.to_string(), attempt.to_string());
        let (amount, currency) = (amount.to_string(), authorization.amount.currency());
        let currency = currency.code().to_ascii_lowercase();
        let fields = [
            ("amount", amount.as_str()),
            ("currency", &currency),
            ("capture_method", capture),
            ("payment_method_types[]", "card"),
            ("payment_method", token),
            ("metadata[installation]", self.installation().await?),
            ("metadata[payment_id]", &payment),
            ("metadata[attempt]", &attempt),
            ("metadata[amount]", &amount),
            ("metadata[currency]", &currency),
        ];
        let once = self.keys.unique(&format!("{key}-create")).await?;
        let object = match self.api.create("payment_intents", &fields, &once).await {
            // If an earlier call did create an intent, it is never confirmed.
            Err(NoObject::Refused(error)) => {
                tell_refusal(authorization.key, &error);
                return Ok(Created::Refused(decline_code(&error)));
            }
            created => created?,
        };
        let intent = Intent::read(&object).ok_or(Unclear::Unknown)?;
        let counted = (intent.amount, intent.currency.as_str());
        self.unless_other(authorization, &object, counted).await?;
        match self.references.keep(&key, &intent.id).await? {
            Known::As(id) if id == intent.id => Ok(Created::Intent(intent)),
            // Another call has created one, too, because the key was too old: this one stays unconfirmed.
            Known::As(id) => Ok(Created::Intent(self.read(&id).await?)),
            Known::Closed | Known::Nothing => Err(Unclear::closed()),
        }
    }

    /// An answer about another payment, or another amount, is not believed: its id is not stored, and its page is not shown.
    async fn unless_other(
        &self,
        authorization: &Authorization<'_>,
        object: &Value,
        counted: (i64, &str),
    ) -> Result<(), Unclear> {
        let key = authorization.key;
        let metadata = &object["metadata"];
        let is_ours = metadata["installation"] == *self.installation().await?
            && attempt_of(metadata) == Some(key);
        if is_ours && is_asked(authorization, counted)? {
            return Ok(());
        }
        tracing::error!(
            payment.id = key.payment.0,
            object = %object["id"],
            %metadata,
            "Stripe answered with an object of another payment, or of another amount: it is not used"
        );
        Err(Unclear::Unknown)
    }

    async fn confirm(
        &self,
        intent: &Intent,
        authorization: &Authorization<'_>,
    ) -> Result<Answer, Unclear> {
        let back = match authorization.return_to {
            Some(address) => ("return_url", address),
            // Nobody can lead the shopper back.
            None => ("error_on_requires_action", "true"),
        };
        let path = format!("payment_intents/{}/confirm", intent.id);
        let refused = match self.api.change(&path, &[back]).await {
            Err(NoObject::Refused(error)) => {
                tell_refusal(authorization.key, &error);
                let code = decline_code(&error);
                Some(Answer::Declined { code })
            }
            confirmed => {
                let now = Intent::read(&confirmed?).filter(|now| now.id == intent.id);
                let now = now
                    .and_then(Intent::unless_changed)
                    .ok_or(Unclear::Unknown)?;
                match self.answer(&now).await? {
                    Some(Answer::Declined { .. }) => None,
                    answer => return answer.ok_or(Unclear::Unknown),
                }
            }
        };
        // A call that was delayed until the attempt was closed, or that follows another one, is refused, too: what counts is
        // the intent. A payment that was made must not count as declined.
        let now = self.read(&intent.id).await;
        let now = now.map_err(Unclear::after_a_call)?;
        self.answer(&now).await?.or(refused).ok_or(Unclear::Unknown)
    }

    async fn read(&self, id: &str) -> Result<Intent, Unclear> {
        let object = self.api.get(&format!("payment_intents/{id}")).await?;
        let intent = Intent::read(&object).filter(|intent| intent.id == id);
        intent
            .and_then(Intent::unless_changed)
            .ok_or(Unclear::Unknown)
    }

    /// Cancels an intent and reads it back: it may be charged already.
    async fn canceled(&self, id: &str) -> Result<Intent, Unclear> {
        let path = format!("payment_intents/{id}/cancel");
        match self.api.change(&path, &[]).await {
            Ok(_) | Err(NoObject::Refused(_) | NoObject::Unknown(_)) => {
                self.read(id).await.map_err(Unclear::after_a_call)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The intent of an attempt that is to be closed; none if there is none and never will be.
    async fn intent_to_close(&self, key: AttemptKey) -> Result<Option<Intent>, Unclear> {
        match self.references.close(&key.to_string()).await? {
            Known::As(id) if session::is_session(&id) => self.closed_session(&id).await,
            Known::As(id) => self.read(&id).await.map(Some),
            Known::Closed | Known::Nothing => Ok(None),
        }
    }

    async fn reverse_attempt(&self, key: AttemptKey) -> Result<ReversalAnswer, Unclear> {
        let Some(mut intent) = self.intent_to_close(key).await? else {
            return Ok(ReversalAnswer::Confirmed);
        };
        if !matches!(intent.status, Status::Canceled | Status::Succeeded) {
            intent = self.canceled(&intent.id).await?;
        }
        match intent.status {
            Status::Canceled => Ok(ReversalAnswer::Confirmed),
            Status::Succeeded => self.refund_whole(&intent).await,
            _ => Err(Unclear::Unknown),
        }
    }

    /// Returns everything that is left of a charge: no more than that can be returned, so it needs no key. Confirmed when all
    /// of it has been returned: a refund can be pending, and then fail.
    async fn refund_whole(&self, intent: &Intent) -> Result<ReversalAnswer, Unclear> {
        let fields = [("payment_intent", intent.id.as_str())];
        match self.api.change("refunds", &fields).await {
            Ok(_) | Err(NoObject::Refused(_) | NoObject::Unknown(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let refunds = self.refunds_of(&intent.id).await?;
        let returned = refunds
            .iter()
            .filter(|refund| refund["status"] == "succeeded");
        let returned: i64 = returned.filter_map(|it| it["amount"].as_i64()).sum();
        match intent.received {
            Some(received) if returned >= received => Ok(ReversalAnswer::Confirmed),
            _ => Err(Unclear::Unknown),
        }
    }

    async fn ask_about(&self, key: AttemptKey) -> Result<ActionAnswer, Unclear> {
        let id = match self.references.known(&key.to_string()).await? {
            Known::As(id) if session::is_session(&id) => {
                return self.ask_about_session(key, &id).await;
            }
            Known::As(id) => id,
            Known::Closed | Known::Nothing => return Err(Unclear::Unknown),
        };
        let intent = self.read(&id).await?;
        Ok(match intent.status {
            Status::Succeeded | Status::RequiresCapture => ActionAnswer::Approved {
                authorization_code: intent.code(),
            },
            Status::RequiresAction | Status::Processing => ActionAnswer::Waiting,
            Status::Unconfirmed => ActionAnswer::Declined {
                code: intent
                    .declined
                    .unwrap_or(DeclineCode::AUTHENTICATION_FAILED),
            },
            Status::Canceled => ActionAnswer::Declined {
                code: CANCELED_THERE,
            },
        })
    }

    async fn close_or_find_charged(&self, key: AttemptKey) -> Result<AttemptCloseAnswer, Unclear> {
        let Some(mut intent) = self.intent_to_close(key).await? else {
            return Ok(AttemptCloseAnswer::Closed);
        };
        // What was approved meanwhile stays approved: an amount that is only held would be released by canceling.
        if matches!(
            intent.status,
            Status::Unconfirmed | Status::RequiresAction | Status::Processing
        ) {
            intent = self.canceled(&intent.id).await?;
        }
        match intent.status {
            Status::Canceled => Ok(AttemptCloseAnswer::Closed),
            Status::Succeeded | Status::RequiresCapture => Ok(AttemptCloseAnswer::Charged {
                authorization_code: intent.code(),
            }),
            _ => Err(Unclear::Unknown),
        }
    }
}

/// The result of creating an intent.
enum Created {
    Intent(Intent),
    /// Stripe does not take such a payment: too small, a currency that it does not know.
    Refused(DeclineCode),
}

/// Whether Stripe counts the amount that was asked for, in its currency.
fn is_asked(
    authorization: &Authorization<'_>,
    (amount, currency): (i64, &str),
) -> Result<bool, Unclear> {
    let asked = amount::counted(authorization.amount).map_err(|_| Unclear::Unknown)?;
    let code = authorization.amount.currency().code();
    Ok(amount == asked && currency.eq_ignore_ascii_case(code))
}

fn tell_other_amount(key: AttemptKey, id: &str) {
    tracing::error!(
        payment.id = key.payment.0,
        id,
        "Stripe has another amount or currency than was asked for: the payment waits until somebody finds out why"
    );
}

/// A refusal that is not the issuer's: somebody has to change the request, the account or the token.
fn tell_refusal(key: AttemptKey, error: &Value) {
    if error["type"] == "card_error" {
        return;
    }
    let (code, message) = (&error["code"], &error["message"]);
    tracing::warn!(payment.id = key.payment.0, %code, %message, "Stripe refused a payment, for another reason than its issuer's");
}

#[async_trait]
impl Processor for Stripe {
    fn check(&self, method: &str, amount: Money) -> Result<(), Unsupported> {
        Unsupported::unless_taken(method, &[TOKEN, REDIRECT])?;
        amount::counted(amount).map(|_| ())
    }

    fn availability(&self) -> Option<&Availability> {
        Some(&self.availability)
    }

    async fn authorize(&self, authorization: &Authorization<'_>) -> Answer {
        let authorized = match authorization.method.open() {
            Ok(OpenedMethod::Other { name, secret }) if name == TOKEN => {
                match std::str::from_utf8(&secret) {
                    Ok(token) => self.authorize_token(authorization, token).await,
                    Err(_) => return super::MethodUnreadable.into(),
                }
            }
            Ok(OpenedMethod::Other { name, .. }) if name == REDIRECT => {
                self.authorize_on_page(authorization).await
            }
            Ok(_) => {
                return Answer::Declined {
                    code: DeclineCode::METHOD_NOT_SUPPORTED,
                };
            }
            Err(unreadable) => return unreadable.into(),
        };
        unclear::answer(authorized)
    }

    async fn reverse(&self, key: AttemptKey, _: Money) -> ReversalAnswer {
        let reversed = self.reverse_attempt(key).await;
        reversed.unwrap_or(ReversalAnswer::Unknown)
    }

    async fn ask(&self, key: AttemptKey) -> ActionAnswer {
        let asked = self.ask_about(key).await;
        asked.unwrap_or(ActionAnswer::Unknown)
    }

    async fn close_attempt(&self, key: AttemptKey, _: Money) -> AttemptCloseAnswer {
        let closed = self.close_or_find_charged(key).await;
        closed.unwrap_or(AttemptCloseAnswer::Unknown)
    }

    async fn capture(&self, call: &OperationCall) -> OperationAnswer {
        unclear::operation_answer(self.capture_held(call).await)
    }

    async fn void(&self, call: &OperationCall) -> OperationAnswer {
        unclear::operation_answer(self.void_held(call).await)
    }

    async fn refund(&self, call: &OperationCall) -> OperationAnswer {
        unclear::operation_answer(self.refund_captured(call).await)
    }

    async fn query(&self, call: &OperationCall) -> OperationAnswer {
        unclear::operation_answer(self.find_out(call).await)
    }

    async fn close(&self, call: &OperationCall) -> CloseAnswer {
        unclear::close_answer(self.repeat(call).await)
    }

    async fn notified(
        &self,
        notification: &Notification<'_>,
    ) -> Result<PlatformEvent, NotificationRefused> {
        self.take_webhook(notification).await
    }

    async fn look_up(&self, subject: &Subject) -> Found {
        self.find(subject).await.unwrap_or(Found::Unknown)
    }

    fn claim(&self, kind: &str) -> Claim {
        webhook::claim(kind)
    }

    fn books(&self) -> Option<&dyn Books> {
        Some(self)
    }

    fn finds_out_within(&self) -> Option<Duration> {
        Some(operations::KEY_LIFE / 2)
    }
}
