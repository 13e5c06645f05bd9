//! PayPal: an attempt is an order, and the shopper pays on PayPal's page.
//!
//! An order that the shopper has approved is not charged yet: that needs our call, which captures or authorizes it. So the
//! worker that asks about an attempt also charges it (`rounds`). PayPal cannot cancel an order. An attempt is closed by
//! closing the round that would be next: whoever wants to charge has to begin that round first.
//!
//! Every call that creates or changes something has a request id. What became of it is read in the order, never searched.

mod access;
mod amount;
mod api;
mod books;
mod dispute;
mod operations;
mod order;
mod reversal;
mod rounds;
mod transactions;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

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
    OperationAnswer, REDIRECT, ReversalAnswer,
};
use crate::store::{Store, StoreError};
use api::{Api, NoObject};
use order::{Asked, CANCELED_THERE, Charge, Order, Status};

/// An account at PayPal.
#[derive(Debug, Clone)]
pub struct PayPalAccount {
    /// The processor's name here.
    pub name: String,
    /// The id of the app.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where its API is: `https://api-m.sandbox.paypal.com`.
    pub api: String,
    /// How long a shopper can approve.
    pub action_life: Duration,
    /// The id of the app's webhook; without it there are no webhooks.
    pub webhook_id: Option<String>,
}

/// Equal if nothing about it has changed.
impl PartialEq for PayPalAccount {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            client_id,
            client_secret,
            api,
            action_life,
            webhook_id,
        } = self;
        let others = (
            &other.name,
            &other.client_id,
            &other.api,
            &other.action_life,
            &other.webhook_id,
        );
        (name, client_id, api, action_life, webhook_id) == others
            && client_secret.expose_secret() == other.client_secret.expose_secret()
    }
}

/// The processor for one account.
pub struct PayPal {
    api: Api,
    references: References,
    database: Store,
    action_life: Duration,
    availability: Arc<Availability>,
    webhook_id: Option<String>,
    keys: Keys,
}

impl PayPal {
    /// Keeps its references in the database.
    pub fn new(account: &PayPalAccount, database: Store) -> Result<Self, rustls::Error> {
        let availability = Arc::new(Availability::new(&account.name));
        let (id, secret) = (&account.client_id, account.client_secret.clone());
        Ok(Self {
            api: Api::new(&account.api, id, secret, Arc::clone(&availability))?,
            references: References::new(database.clone(), &account.name),
            keys: Keys::new(database.clone()),
            database,
            action_life: account.action_life,
            availability,
            webhook_id: account.webhook_id.clone(),
        })
    }

    async fn installation(&self) -> Result<&str, StoreError> {
        self.keys.installation().await
    }

    async fn authorize_order(&self, authorization: &Authorization<'_>) -> Result<Answer, Unclear> {
        let key = authorization.key;
        let Some(return_to) = authorization.return_to else {
            return Ok(Answer::Declined {
                code: DeclineCode::AUTHENTICATION_REQUIRED,
            });
        };
        let (asked, order) = match self.references.known(&key.to_string()).await? {
            Known::Closed => return Err(Unclear::closed()),
            Known::As(reference) => self.known_order(&reference).await?,
            Known::Nothing => match self.create(authorization, return_to).await? {
                Created::Order(asked, order) => (asked, order),
                Created::Refused(code) => return Ok(Answer::Declined { code }),
            },
        };
        let waiting = order.status == Status::Waiting;
        if let (true, Some(url)) = (waiting, &order.page) {
            return Ok(Answer::ActionRequired {
                url: url.clone(),
                expires_at: self.database.now().await? + self.action_life,
            });
        }
        Ok(match self.settle(key, &asked, &order).await? {
            ActionAnswer::Approved { authorization_code } => {
                Answer::Approved { authorization_code }
            }
            ActionAnswer::Declined { code } => Answer::Declined { code },
            _ => Answer::Unknown,
        })
    }

    /// Creates an order and stores its id. Nothing is charged by that, nor by the shopper's approval.
    async fn create(
        &self,
        authorization: &Authorization<'_>,
        return_to: &str,
    ) -> Result<Created, Unclear> {
        let key = authorization.key.to_string();
        let amount = amount::object(authorization.amount).map_err(|_| Unclear::Unknown)?;
        let ours = self.keys.unique(&key).await?;
        let intent = match authorization.capture {
            CaptureMethod::Automatic => "CAPTURE",
            CaptureMethod::Manual => "AUTHORIZE",
        };
        let context = json!({
            "return_url": return_to, "cancel_url": return_to, "user_action": "PAY_NOW",
            "shipping_preference": "NO_SHIPPING",
        });
        let body = json!({
            "intent": intent,
            "purchase_units": [{"custom_id": ours, "invoice_id": ours, "amount": amount}],
            "payment_source": {"paypal": {"experience_context": context}},
        });
        let once = self.keys.unique(&format!("{key}-create")).await?;
        let object = match self.api.post("/v2/checkout/orders", &once, &body).await {
            // If an earlier call did create an order, its page was never shown, and it is never charged.
            Err(NoObject::Refused(error)) => {
                tell_refusal(authorization.key, &error);
                return Ok(Created::Refused(order::code(api::issue(&error))));
            }
            created => created?,
        };
        let order = self.complete(Order::read(&object)).await?;
        if !order.is_for(&ours, authorization.amount) {
            tell_other_order(authorization.key, &order);
            return Err(Unclear::Unknown);
        }
        let asked = Asked {
            order: order.id.clone(),
            capture: authorization.capture,
            amount: authorization.amount,
        };
        match self.references.keep(&key, &asked.to_string()).await? {
            Known::As(reference) if reference == asked.to_string() => {
                Ok(Created::Order(asked, order))
            }
            // Another call has created one, too, because the request id was too old: nobody will charge this one.
            Known::As(reference) => {
                let (asked, order) = self.known_order(&reference).await?;
                Ok(Created::Order(asked, order))
            }
            Known::Closed | Known::Nothing => Err(Unclear::closed()),
        }
    }

    /// An order with what it is about: a short answer does not say that.
    async fn complete(&self, order: Option<Order>) -> Result<Order, Unclear> {
        let order = order.ok_or(Unclear::Unknown)?;
        if order.ours.is_some() {
            return Ok(order);
        }
        let path = format!("/v2/checkout/orders/{}", order.id);
        let read = Order::read(&self.api.get(&path).await?);
        let read = read.filter(|read| read.id == order.id);
        read.ok_or(Unclear::Unknown)
    }

    /// What an attempt's reference says.
    async fn known_order(&self, reference: &str) -> Result<(Asked, Order), Unclear> {
        let asked = Asked::read(reference).ok_or(Unclear::Unknown)?;
        let order = self.read(&asked).await?;
        Ok((asked, order))
    }

    async fn read(&self, asked: &Asked) -> Result<Order, Unclear> {
        let path = format!("/v2/checkout/orders/{}", asked.order);
        let order = Order::read(&self.api.get(&path).await?).ok_or(Unclear::Unknown)?;
        fitting(asked, order)
    }

    /// What was asked for an attempt.
    async fn asked(&self, key: AttemptKey) -> Result<Asked, Unclear> {
        match self.references.known(&key.to_string()).await? {
            Known::As(reference) => Asked::read(&reference).ok_or(Unclear::Unknown),
            Known::Closed | Known::Nothing => Err(Unclear::Unknown),
        }
    }

    async fn ask_about(&self, key: AttemptKey) -> Result<ActionAnswer, Unclear> {
        let asked = self.asked(key).await?;
        let order = self.read(&asked).await?;
        self.settle(key, &asked, &order).await
    }

    /// Charges an order that its shopper has approved.
    async fn settle(
        &self,
        key: AttemptKey,
        asked: &Asked,
        order: &Order,
    ) -> Result<ActionAnswer, Unclear> {
        if let Some(charge) = order.charge(asked) {
            return self.charged(key, asked, charge).await;
        }
        match order.status {
            Status::Waiting => Ok(ActionAnswer::Waiting),
            Status::Approved => self.charge(key, asked).await,
            Status::Completed => Err(Unclear::Unknown),
            Status::Voided => Ok(ActionAnswer::Declined {
                code: CANCELED_THERE,
            }),
        }
    }

    /// Stores what later operations need, before anybody hears of the charge.
    async fn charged(
        &self,
        key: AttemptKey,
        asked: &Asked,
        charge: Charge,
    ) -> Result<ActionAnswer, Unclear> {
        match charge {
            Charge::Made(id) => {
                let kept = operations::charge_key(key, asked.capture);
                self.kept(&kept, &id).await?;
                Ok(ActionAnswer::Approved {
                    authorization_code: id,
                })
            }
            Charge::Declined(code) => Ok(ActionAnswer::Declined { code }),
            Charge::Pending => Ok(ActionAnswer::Waiting),
            Charge::OtherAmount => {
                tell_other_amount(&asked.order);
                Err(Unclear::Unknown)
            }
        }
    }

    /// Stores PayPal's id under a key, which can have only one.
    async fn kept(&self, key: &str, id: &str) -> Result<(), Unclear> {
        match self.references.keep(key, id).await? {
            Known::As(known) if known == id => Ok(()),
            known => {
                tracing::error!(
                    key,
                    id,
                    ?known,
                    "PayPal has two objects under one key: the payment waits until somebody finds out why"
                );
                Err(Unclear::Unknown)
            }
        }
    }
}

/// The result of creating an order.
enum Created {
    Order(Asked, Order),
    /// PayPal does not take such a payment.
    Refused(DeclineCode),
}

/// The order, if it is the one that was asked for.
fn fitting(asked: &Asked, order: Order) -> Result<Order, Unclear> {
    let same_amount = order.amount.is_none_or(|amount| amount == asked.amount);
    if order.id == asked.order && same_amount {
        return Ok(order);
    }
    tell_other_amount(&asked.order);
    Err(Unclear::Unknown)
}

fn tell_other_amount(id: &str) {
    tracing::error!(
        id,
        "PayPal has another amount or currency than was asked for: the payment waits until somebody finds out why"
    );
}

/// An order of another payment: its id is not stored, and its page is not shown.
fn tell_other_order(key: AttemptKey, order: &Order) {
    tracing::error!(
        payment.id = key.payment.0,
        order = order.id,
        about = order.ours,
        "PayPal answered with an order of another payment, or of another amount: it is not used"
    );
}

/// Somebody has to change the request or the account.
fn tell_refusal(key: AttemptKey, error: &Value) {
    let (issue, message) = (api::issue(error), &error["message"]);
    tracing::warn!(payment.id = key.payment.0, issue, %message, "PayPal refused to create an order");
}

#[async_trait]
impl Processor for PayPal {
    fn check(&self, method: &str, amount: Money) -> Result<(), Unsupported> {
        Unsupported::unless_taken(method, &[REDIRECT])?;
        amount::written(amount).map(|_| ())
    }

    fn availability(&self) -> Option<&Availability> {
        Some(&self.availability)
    }

    async fn authorize(&self, authorization: &Authorization<'_>) -> Answer {
        match authorization.method.open() {
            Ok(OpenedMethod::Other { name, .. }) if name == REDIRECT => {}
            Ok(_) => {
                return Answer::Declined {
                    code: DeclineCode::METHOD_NOT_SUPPORTED,
                };
            }
            Err(unreadable) => return unreadable.into(),
        }
        unclear::answer(self.authorize_order(authorization).await)
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

    /// Captures and refunds can be repeated for longer, but are slow enough by then for a person to look.
    fn finds_out_within(&self) -> Option<Duration> {
        Some(rounds::REQUEST_LIFE / 2)
    }
}
