//! A Checkout Session: the shopper pays on Stripe's own page.
//!
//! The id of a session is stored before its page is shown to anybody, like that of an intent before it is confirmed. A session
//! gets its PaymentIntent when the shopper tries to pay; from then on the intent says what was charged. An attempt is closed by
//! expiring its session, after which nobody can pay there.

use std::time::Duration;

use serde_json::Value;

use super::api::NoObject;
use super::intent::{Intent, Status, decline_code};
use super::{Stripe, Unclear, amount, is_asked, tell_other_amount, tell_refusal};
use crate::domain::{ActionAnswer, Answer, CaptureMethod, DeclineCode, Timestamp};
use crate::processors::references::Known;
use crate::processors::{AttemptKey, Authorization};

/// How every id of a session begins.
const PREFIX: &str = "cs_";

/// The shortest life of a session at Stripe is 30 minutes, by Stripe's clock.
const SHORTEST: Duration = Duration::from_secs(35 * 60);

/// The longest life of a session at Stripe is 24 hours.
const LONGEST: Duration = Duration::from_secs(23 * 60 * 60);

/// The end of a session is a multiple of this, so that a repeated request is the same.
const STEP: i64 = 600;

/// A session, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub id: String,
    pub state: State,
    /// As Stripe counts it.
    pub amount: i64,
    /// In lower case.
    pub currency: String,
    /// Its PaymentIntent, once the shopper has tried to pay.
    pub intent: Option<String>,
    /// The page, while it is open.
    pub url: Option<String>,
}

/// Its `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The shopper can pay.
    Open,
    /// The shopper has paid, or the payment is being processed.
    Complete,
    /// Nobody can pay any more.
    Expired,
}

/// The result of creating a session.
enum Created {
    Session(Session),
    /// Stripe does not take such a payment.
    Refused(DeclineCode),
}

/// Whether a stored reference is that of a session.
pub(super) fn is_session(reference: &str) -> bool {
    reference.starts_with(PREFIX)
}

impl Session {
    /// Reads Stripe's object; none if it is not a session, or has a status that this code does not know.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let state = match object["status"].as_str()? {
            "open" => State::Open,
            "complete" => State::Complete,
            "expired" => State::Expired,
            _ => return None,
        };
        let is_one = object["object"] == "checkout.session";
        is_one.then_some(())?;
        let intent = &object["payment_intent"];
        let intent = intent.as_str().or_else(|| intent["id"].as_str());
        Some(Self {
            id: object["id"]
                .as_str()
                .filter(|id| is_session(id))?
                .to_owned(),
            state,
            amount: object["amount_total"].as_i64()?,
            currency: object["currency"].as_str()?.to_ascii_lowercase(),
            intent: intent.map(str::to_owned),
            url: object["url"].as_str().map(str::to_owned),
        })
    }
}

/// Where the intent of an attempt with a session is stored.
pub(super) fn intent_key(key: &str) -> String {
    format!("{key}-intent")
}

impl Stripe {
    pub(super) async fn authorize_on_page(
        &self,
        authorization: &Authorization<'_>,
    ) -> Result<Answer, Unclear> {
        let Some(back) = authorization.return_to else {
            // Nobody can lead the shopper back.
            let code = DeclineCode::AUTHENTICATION_REQUIRED;
            return Ok(Answer::Declined { code });
        };
        let session = match self
            .references
            .known(&authorization.key.to_string())
            .await?
        {
            Known::Closed => return Err(Unclear::closed()),
            Known::As(id) => self.session(&id).await?,
            Known::Nothing => match self.create_session(authorization, back).await? {
                Created::Session(session) => session,
                Created::Refused(code) => return Ok(Answer::Declined { code }),
            },
        };
        if !is_asked(authorization, (session.amount, &session.currency))? {
            tell_other_amount(authorization.key, &session.id);
            return Err(Unclear::Unknown);
        }
        if session.state == State::Open {
            return Ok(Answer::ActionRequired {
                url: session.url.ok_or(Unclear::Unknown)?,
                expires_at: self.database.now().await? + self.action_life.min(LONGEST),
            });
        }
        let Some(intent) = self.intent_of_session(&session).await? else {
            let code = DeclineCode::ACTION_EXPIRED;
            return Ok(Answer::Declined { code });
        };
        self.answer(&intent).await?.ok_or(Unclear::Unknown)
    }

    /// Creates a session and stores its id. Nobody knows its page until then.
    async fn create_session(
        &self,
        authorization: &Authorization<'_>,
        back: &str,
    ) -> Result<Created, Unclear> {
        let key = authorization.key.to_string();
        let ends = end_of_session(self.database.now().await?, self.action_life).to_string();
        let capture = match authorization.capture {
            CaptureMethod::Automatic => "automatic",
            CaptureMethod::Manual => "manual",
        };
        let amount = amount::counted(authorization.amount).map_err(|_| Unclear::Unknown)?;
        let (amount, currency) = (amount.to_string(), authorization.amount.currency());
        let currency = currency.code().to_ascii_lowercase();
        let (payment, attempt) = (authorization.key.payment, authorization.key.attempt);
        let (payment, attempt) = (payment.to_string(), attempt.to_string());
        let name = format!("Payment {payment}");
        let installation = self.installation().await?;
        let fields = [
            ("mode", "payment"),
            ("payment_method_types[]", "card"),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", &currency),
            ("line_items[0][price_data][unit_amount]", &amount),
            ("line_items[0][price_data][product_data][name]", &name),
            ("payment_intent_data[capture_method]", capture),
            ("payment_intent_data[metadata][installation]", installation),
            ("payment_intent_data[metadata][payment_id]", &payment),
            ("payment_intent_data[metadata][attempt]", &attempt),
            ("metadata[installation]", installation),
            ("metadata[payment_id]", &payment),
            ("metadata[attempt]", &attempt),
            ("success_url", back),
            ("cancel_url", back),
            ("expires_at", &ends),
        ];
        let once = self.keys.unique(&format!("{key}-session-{ends}")).await?;
        let object = match self.api.create("checkout/sessions", &fields, &once).await {
            // If an earlier call did create a session, its page was never shown.
            Err(NoObject::Refused(error)) => {
                tell_refusal(authorization.key, &error);
                return Ok(Created::Refused(decline_code(&error)));
            }
            created => created?,
        };
        let session = Session::read(&object).ok_or(Unclear::Unknown)?;
        let counted = (session.amount, session.currency.as_str());
        self.unless_other(authorization, &object, counted).await?;
        match self.references.keep(&key, &session.id).await? {
            Known::As(id) if id == session.id => Ok(Created::Session(session)),
            // Another call has created one, too: nobody ever sees the page of this one.
            Known::As(id) => Ok(Created::Session(self.session(&id).await?)),
            Known::Closed | Known::Nothing => Err(Unclear::closed()),
        }
    }

    async fn session(&self, id: &str) -> Result<Session, Unclear> {
        let object = self.api.get(&format!("checkout/sessions/{id}")).await?;
        let session = Session::read(&object).filter(|session| session.id == id);
        session.ok_or(Unclear::Unknown)
    }

    /// The intent of a session at which nobody can pay any more; none if nobody has tried.
    async fn intent_of_session(&self, session: &Session) -> Result<Option<Intent>, Unclear> {
        let Some(id) = &session.intent else {
            return match session.state {
                State::Expired => Ok(None),
                State::Open | State::Complete => Err(Unclear::Unknown),
            };
        };
        let intent = self.read(id).await?;
        if intent.amount != session.amount || intent.currency != session.currency {
            tracing::error!(
                session = session.id,
                intent = intent.id,
                "Stripe has another amount or currency than was asked for: the payment waits until somebody finds out why"
            );
            return Err(Unclear::Unknown);
        }
        Ok(Some(intent))
    }

    /// What became of the page of an attempt.
    pub(super) async fn ask_about_session(
        &self,
        key: AttemptKey,
        id: &str,
    ) -> Result<ActionAnswer, Unclear> {
        let session = self.session(id).await?;
        if session.state == State::Open {
            return Ok(ActionAnswer::Waiting);
        }
        let Some(intent) = self.intent_of_session(&session).await? else {
            return Ok(ActionAnswer::Expired);
        };
        let kept = intent_key(&key.to_string());
        self.references.keep(&kept, &intent.id).await?;
        Ok(match intent.status {
            Status::Succeeded | Status::RequiresCapture => ActionAnswer::Approved {
                authorization_code: intent.code(),
            },
            Status::RequiresAction | Status::Processing => ActionAnswer::Waiting,
            // Closing makes it definite.
            Status::Unconfirmed | Status::Canceled => ActionAnswer::Expired,
        })
    }

    /// Expires a session and reads it back: the shopper may have paid just before. Returns its intent, which then says what was
    /// charged; none if there is none and never will be.
    pub(super) async fn closed_session(&self, id: &str) -> Result<Option<Intent>, Unclear> {
        let mut session = self.session(id).await?;
        if session.state == State::Open {
            let path = format!("checkout/sessions/{id}/expire");
            match self.api.change(&path, &[]).await {
                Ok(_) | Err(NoObject::Refused(_) | NoObject::Unknown(_)) => {}
                Err(other) => return Err(other.into()),
            }
            session = self.session(id).await?;
        }
        match session.state {
            State::Open => Err(Unclear::Unknown),
            State::Complete | State::Expired => self.intent_of_session(&session).await,
        }
    }

    /// The id of the intent of an attempt, by what is stored under the attempt's key.
    pub(super) async fn intent_behind(
        &self,
        key: AttemptKey,
        reference: String,
    ) -> Result<String, Unclear> {
        if !is_session(&reference) {
            return Ok(reference);
        }
        let kept = intent_key(&key.to_string());
        if let Known::As(id) = self.references.known(&kept).await? {
            return Ok(id);
        }
        let session = self.session(&reference).await?;
        let id = session.intent.ok_or(Unclear::Unknown)?;
        self.references.keep(&kept, &id).await?;
        Ok(id)
    }
}

/// When a session ends, in seconds since 1970: not before the shopper's time is over, within Stripe's limits.
fn end_of_session(now: Timestamp, action_life: Duration) -> i64 {
    let ends = now + action_life.clamp(SHORTEST, LONGEST);
    ends.unix_timestamp().div_euclid(STEP).saturating_add(1) * STEP
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_session_is_read_and_anything_unknown_is_not() {
        let object = json!({
            "id": "cs_test_1", "object": "checkout.session", "status": "open", "amount_total": 2000, "currency": "cad",
            "payment_intent": null, "url": "https://checkout.stripe.example/c/pay/cs_test_1",
        });
        let session = Session::read(&object).unwrap();
        assert_eq!((session.state, session.intent), (State::Open, None));
        for (field, broken) in [
            ("status", json!("ajar")),
            ("object", json!("payment_intent")),
            ("amount_total", json!(null)),
            ("id", json!("pi_1")),
        ] {
            let mut object = object.clone();
            object[field] = broken;
            assert_eq!(Session::read(&object), None, "{field}");
        }
    }

    #[test]
    fn a_session_ends_after_the_shopper_s_time_and_within_stripe_s_limits() {
        let now = datetime!(2026-11-27 01:50:01 UTC);
        let minutes = |life: u64| {
            let ends = end_of_session(now, Duration::from_secs(life * 60));
            (ends - now.unix_timestamp()) / 60
        };
        for life in [1, 15, 30, 31, 600, 1380, 1440, 100_000] {
            let lasts = minutes(life);
            assert!((31..24 * 60).contains(&lasts), "{life}: {lasts}");
            assert!(
                lasts >= i64::try_from(life).unwrap().min(1380),
                "{life}: {lasts}"
            );
        }
        // Repeated a second later the request is the same.
        let later = now + Duration::from_secs(1);
        let life = Duration::from_secs(900);
        assert_eq!(end_of_session(now, life), end_of_session(later, life));
    }
}
