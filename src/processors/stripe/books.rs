//! Stripe's own record: lists of PaymentIntents and refunds. Never its search, which lags.

use async_trait::async_trait;
use serde_json::Value;

use super::Stripe;
use super::amount;
use super::api::{NoObject, NoPage};
use super::session::{intent_key, is_session};
use crate::domain::{Currency, OperationId, PaymentId};
use crate::processors::AttemptKey;
use crate::processors::books::{
    Books, List, NoBooks, Page, Pages, RefundState, TheirCharge, TheirRefund, UnreadableCharge,
    Wanted,
};
use crate::processors::references::Known;

/// The most that Stripe lists at once.
const PAGE: &str = "100";

/// The most pages of the refunds of one charge that are read.
const MOST_OF_REFUNDS: u64 = 100;

#[async_trait]
impl Books for Stripe {
    fn list(&self) -> List {
        List::Complete
    }

    async fn charges(&self, wanted: &Wanted) -> Result<Page, NoBooks> {
        let installation = self.installation().await.map_err(failed)?;
        let from = wanted.from.unix_timestamp().to_string();
        let until = wanted.until.map(|until| until.unix_timestamp().to_string());
        let mut query = vec![
            ("limit", PAGE),
            ("created[gte]", &from),
            ("expand[]", "data.latest_charge"),
        ];
        query.extend(until.as_deref().map(|until| ("created[lt]", until)));
        query.extend(wanted.after.as_deref().map(|id| ("starting_after", id)));
        let list = self.api.page("payment_intents", &query).await?;
        page(&list, installation)
    }

    async fn charge(&self, _: AttemptKey, reference: &str) -> Result<Option<TheirCharge>, NoBooks> {
        if !is_session(reference) {
            return self.charge_of_intent(reference).await;
        }
        match self.intent_of_page(reference).await? {
            Some(intent) => self.charge_of_intent(&intent).await,
            None => Ok(None),
        }
    }

    async fn is_of(&self, key: AttemptKey, stored: &str, charge: &str) -> Result<bool, NoBooks> {
        if !is_session(stored) {
            return Ok(stored == charge);
        }
        let known = self.references.known(&intent_key(&key.to_string())).await;
        match known.map_err(failed)? {
            Known::As(intent) => Ok(intent == charge),
            Known::Closed | Known::Nothing => {
                Ok(self.intent_of_page(stored).await?.as_deref() == Some(charge))
            }
        }
    }

    async fn refunds(&self, charge: &TheirCharge) -> Result<Vec<TheirRefund>, NoBooks> {
        let charge = charge.reference.as_str();
        let mut all = Vec::new();
        let mut pages = Pages::default();
        loop {
            let mut query = vec![("payment_intent", charge), ("limit", PAGE)];
            query.extend(pages.after().map(|id| ("starting_after", id)));
            let list = self.api.page("refunds", &query).await?;
            let refunds = list["data"].as_array().map_or(&[][..], Vec::as_slice);
            for object in refunds {
                let unreadable = || format!("a refund of {charge} cannot be read");
                let read = refund(object).ok_or_else(unreadable);
                all.push(read.map_err(NoBooks::Unreadable)?);
            }
            if !pages.turn(next(&list)?, MOST_OF_REFUNDS)? {
                return Ok(all);
            }
        }
    }
}

impl Stripe {
    /// The intent of a Checkout Session, if it has one.
    async fn intent_of_page(&self, session: &str) -> Result<Option<String>, NoBooks> {
        let path = format!("checkout/sessions/{session}");
        match self.api.page(&path, &[]).await {
            Ok(session) => Ok(session["payment_intent"].as_str().map(str::to_owned)),
            Err(NoPage::NoObject(NoObject::Refused(error))) if is_missing(&error) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    async fn charge_of_intent(&self, id: &str) -> Result<Option<TheirCharge>, NoBooks> {
        let expand = [("expand[]", "latest_charge")];
        let path = format!("payment_intents/{id}");
        match self.api.page(&path, &expand).await {
            Ok(intent) => charge(&intent).map(Some).map_err(NoBooks::Unreadable),
            Err(NoPage::NoObject(NoObject::Refused(error))) if is_missing(&error) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

fn failed(why: impl ToString) -> NoBooks {
    NoBooks::Failed(why.to_string())
}

fn is_missing(error: &Value) -> bool {
    error["code"] == "resource_missing"
}

impl From<NoPage> for NoBooks {
    fn from(no_page: NoPage) -> Self {
        match no_page {
            NoPage::Busy { retry_after } => Self::Busy { retry_after },
            NoPage::NoObject(NoObject::NotExecuted(why)) => failed(why),
            NoPage::NoObject(NoObject::Unknown(why)) => failed(why),
            NoPage::NoObject(NoObject::Refused(error)) => {
                let (code, message) = (&error["code"], &error["message"]);
                Self::Failed(format!("Stripe refused the request: {code} {message}"))
            }
        }
    }
}

/// A page of intents.
fn page(list: &Value, installation: &str) -> Result<Page, NoBooks> {
    let mut page = Page {
        next: next(list)?,
        ..Page::default()
    };
    let intents = list["data"].as_array();
    for intent in intents.ok_or_else(|| failed("Stripe's list cannot be read"))? {
        if intent["metadata"]["installation"] != installation {
            page.others += 1;
            continue;
        }
        match charge(intent) {
            Ok(charge) => page.charges.push(charge),
            Err(why) => {
                let id = intent["id"].as_str().unwrap_or("an intent without an id");
                page.unreadable.push(UnreadableCharge {
                    reference: id.to_owned(),
                    key: key(&intent["metadata"]),
                    why,
                });
            }
        }
    }
    Ok(page)
}

/// Where the next page of a list begins.
pub(super) fn next(list: &Value) -> Result<Option<String>, NoBooks> {
    if list["has_more"] != true {
        return Ok(None);
    }
    let last = list["data"].as_array().and_then(|data| data.last());
    let id = last.and_then(|last| last["id"].as_str());
    let id = id.ok_or_else(|| failed("Stripe's list has more, and does not say after what"))?;
    Ok(Some(id.to_owned()))
}

/// What an intent has moved, or why that cannot be said.
fn charge(intent: &Value) -> Result<TheirCharge, String> {
    let text = |field: &str| intent[field].as_str().ok_or(format!("it has no {field}"));
    let code = text("currency")?.to_ascii_uppercase();
    let currency = Currency::parse(&code).map_err(|_| format!("its currency is {code}"))?;
    let minor = |value: &Value, field: &str| {
        let counted = value.as_i64().ok_or(format!("it has no {field}"))?;
        amount::minor(counted, currency).ok_or(format!(
            "its {field} of {counted} is not an amount in {code}"
        ))
    };
    let status = text("status")?;
    let held = match status {
        "requires_capture" => minor(&intent["amount_capturable"], "amount_capturable")?,
        _ => 0,
    };
    let charge = &intent["latest_charge"];
    Ok(TheirCharge {
        reference: text("id")?.to_owned(),
        key: key(&intent["metadata"]),
        currency,
        held,
        captured: minor(&intent["amount_received"], "amount_received")?,
        has_refunds: charge["refunded"] == true || charge["amount_refunded"].as_i64() > Some(0),
        is_moving: status == "processing",
    })
}

fn key(metadata: &Value) -> Option<AttemptKey> {
    let payment = metadata["payment_id"].as_str()?.parse().ok()?;
    let attempt = metadata["attempt"].as_str()?.parse().ok()?;
    Some(AttemptKey {
        payment: PaymentId(payment),
        attempt,
    })
}

fn refund(object: &Value) -> Option<TheirRefund> {
    let currency = object["currency"].as_str()?.to_ascii_uppercase();
    let currency = Currency::parse(&currency).ok()?;
    let operation = object["metadata"]["refund_id"].as_str();
    Some(TheirRefund {
        reference: object["id"].as_str()?.to_owned(),
        operation: operation.and_then(|id| id.parse().ok()).map(OperationId),
        amount: amount::minor(object["amount"].as_i64()?, currency)?,
        state: match object["status"].as_str()? {
            "succeeded" => RefundState::Succeeded,
            "pending" | "requires_action" => RefundState::Pending,
            "failed" | "canceled" => RefundState::Failed,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn intent(changes: &Value) -> Value {
        let mut intent = json!({
            "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 2000, "amount_received": 2000,
            "currency": "cad", "latest_charge": {"id": "ch_1", "refunded": false, "amount_refunded": 0},
            "metadata": {"installation": "here", "payment_id": "7", "attempt": "2"},
        });
        for (field, value) in changes.as_object().unwrap() {
            intent[field] = value.clone();
        }
        intent
    }

    #[test]
    fn what_an_intent_has_moved_is_read_in_minor_units() {
        let read = charge(&intent(&json!({}))).unwrap();
        let (held, captured) = (read.held, read.captured);
        assert_eq!((held, captured, read.has_refunds), (0, 2000, false));
        let key = read.key.unwrap();
        assert_eq!((key.payment, key.attempt), (PaymentId(7), 2));
        let changes = json!({"status": "requires_capture", "amount_capturable": 500, "amount_received": 0,
            "currency": "isk", "latest_charge": {"amount_refunded": 1}});
        let read = charge(&intent(&changes)).unwrap();
        let (held, captured) = (read.held, read.captured);
        assert_eq!((held, captured, read.has_refunds), (5, 0, true));
        for odd in [
            json!({"currency": "abc"}),
            json!({"currency": "isk", "amount_received": 550}),
            json!({"amount_received": null}),
            json!({"status": 1}),
        ] {
            assert!(charge(&intent(&odd)).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_page_counts_what_belongs_to_others_and_says_where_the_next_begins() {
        let other = intent(&json!({"metadata": {"installation": "there"}}));
        let odd = intent(&json!({"id": "pi_odd", "currency": "abc"}));
        let data = [intent(&json!({})), odd, other];
        let mut list = json!({"data": data, "has_more": true});
        list["data"][2]["id"] = json!("pi_last");
        let read = page(&list, "here").unwrap();
        assert_eq!((read.charges.len(), read.others), (1, 1));
        assert_eq!(read.unreadable[0].reference, "pi_odd");
        assert_eq!(read.next.as_deref(), Some("pi_last"));
        let empty = page(&json!({"data": [], "has_more": false}), "here");
        assert_eq!(empty.unwrap().next, None);
        for odd in [
            json!({}),
            json!({"data": [], "has_more": true}),
            json!({"data": [{}], "has_more": true}),
        ] {
            assert!(
                matches!(page(&odd, "here"), Err(NoBooks::Failed(_))),
                "{odd}"
            );
        }
    }
}
