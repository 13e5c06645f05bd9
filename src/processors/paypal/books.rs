//! PayPal's own record. It has no list of orders: each of ours is read by its id. Transaction Search shows what else was charged.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::api::{NoObject, NotRead, says};
use super::operations::charge_key;
use super::order::{Asked, is_id};
use super::transactions::{self, Place};
use super::webhook::attempt;
use super::{PayPal, amount};
use crate::domain::{CaptureMethod, Currency, Money, OperationId};
use crate::processors::AttemptKey;
use crate::processors::books::{
    Books, List, NoBooks, Page, RefundState, TheirCharge, TheirRefund, Wanted,
};
use crate::processors::http::{BUSY, NOT_CALLED};
use crate::processors::notifications::Subject;
use crate::processors::references::Known;

/// It takes up to three hours until Transaction Search shows a transaction.
const LAG: Duration = Duration::from_secs(3 * 60 * 60);

const NOT_ALLOWED: &str = "the app may not use PayPal's Transaction Search: select it in the app's features; a new \
                           permission counts after up to nine hours";

#[async_trait]
impl Books for PayPal {
    fn list(&self) -> List {
        List::Late(LAG)
    }

    async fn charges(&self, wanted: &Wanted) -> Result<Page, NoBooks> {
        let installation = self.installation().await.map_err(failed)?;
        let unreadable = || failed("the place in PayPal's list cannot be read");
        let end = wanted.until.ok_or_else(unreadable)?.unix_timestamp();
        let place = Place::of(wanted, end).ok_or_else(unreadable)?;
        let query = place.query().ok_or_else(unreadable)?;
        let (next, page) = match self.api.transactions(&query).await {
            Ok(list) => (
                place.next(&list, end)?,
                transactions::page(&list, installation),
            ),
            // Each call of this is short: the shorter search is the next page.
            Err((NoObject::Refused(error), _)) if says(&error, "RESULTSET_TOO_LARGE") => {
                let shorter = place.halved();
                let shorter = shorter.ok_or_else(|| failed("PayPal lists no single second"))?;
                (Some(shorter), Page::default())
            }
            Err((NoObject::Refused(error), _)) if says(&error, "NOT_AUTHORIZED") => {
                return Err(NoBooks::Forbidden(NOT_ALLOWED.to_owned()));
            }
            Err(other) => return Err(other.into()),
        };
        let next = next.map(|next| next.to_string());
        Ok(Page { next, ..page })
    }

    async fn charge(
        &self,
        key: AttemptKey,
        reference: &str,
    ) -> Result<Option<TheirCharge>, NoBooks> {
        let asked = asked(reference)?;
        let order = self.order(&asked).await?;
        if order.is_null() {
            return self.charge_without_order(key, &asked).await;
        }
        let unit = &order["purchase_units"][0];
        self.is_named(key, unit).await?;
        let charge = charge(&asked.order, asked.amount.currency(), &unit["payments"]);
        charge
            .map(|charge| TheirCharge {
                key: Some(key),
                ..charge
            })
            .map(Some)
            .map_err(NoBooks::Unreadable)
    }

    async fn is_of(&self, key: AttemptKey, stored: &str, charge: &str) -> Result<bool, NoBooks> {
        for capture in [CaptureMethod::Automatic, CaptureMethod::Manual] {
            if self.id_of(key, capture).await?.as_deref() == Some(charge) {
                return Ok(true);
            }
        }
        let payments = &self.order(&asked(stored)?).await?["purchase_units"][0]["payments"];
        let listed = |list: &str| listed(payments, list).any(|payment| payment["id"] == charge);
        Ok(listed("captures") || listed("authorizations"))
    }

    async fn current(&self, listed: &TheirCharge) -> Result<TheirCharge, NoBooks> {
        let id = &listed.reference;
        for list in ["captures", "authorizations"] {
            let payment = self.record(&format!("/v2/payments/{list}/{id}")).await?;
            if payment["id"] == id.as_str() {
                let payments = serde_json::json!({ list: [payment] });
                let read = charge(id, listed.currency, &payments);
                let read = read.map_err(NoBooks::Unreadable)?;
                let is_returned = payments[list][0]["status"] == "REFUNDED";
                return Ok(TheirCharge {
                    key: listed.key,
                    captured: if is_returned { 0 } else { read.captured },
                    // They are listed in an order that is not known here.
                    has_refunds: false,
                    ..read
                });
            }
        }
        let why = "PayPal lists it, but does not say how it stands now";
        Err(NoBooks::Unreadable(why.to_owned()))
    }

    async fn refunds(&self, charge: &TheirCharge) -> Result<Vec<TheirRefund>, NoBooks> {
        let key = charge
            .key
            .ok_or_else(|| failed("a charge without an attempt"))?;
        let known = self.references.known(&key.to_string()).await;
        let Known::As(reference) = known.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let order = self.order(&asked(&reference)?).await?;
        if order.is_null() {
            let why = "PayPal does not have its order any more, which lists its refunds";
            return Err(NoBooks::Unreadable(why.to_owned()));
        }
        let installation = self.installation().await.map_err(failed)?;
        let payments = &order["purchase_units"][0]["payments"];
        let refunds = listed(payments, "refunds");
        let read = refunds.map(|object| refund(object, installation));
        let all: Option<Vec<TheirRefund>> = read.collect();
        let mut all =
            all.ok_or_else(|| NoBooks::Unreadable("one of its refunds cannot be read".to_owned()))?;
        all.extend(taken_back(payments, &all).map_err(NoBooks::Unreadable)?);
        Ok(all)
    }

    async fn refund(&self, reference: &str) -> Result<Option<TheirRefund>, NoBooks> {
        let path = format!("/v2/payments/refunds/{reference}");
        let object = self.record(&path).await?;
        let installation = self.installation().await.map_err(failed)?;
        Ok(refund(&object, installation).filter(|refund| refund.reference == reference))
    }
}

impl PayPal {
    /// The order of an attempt; null if PayPal does not have it.
    async fn order(&self, asked: &Asked) -> Result<Value, NoBooks> {
        let order = self
            .record(&format!("/v2/checkout/orders/{}", asked.order))
            .await?;
        match order.is_null() || order["id"] == asked.order.as_str() {
            true => Ok(order),
            false => Err(failed("PayPal answers with another order")),
        }
    }

    async fn record(&self, path: &str) -> Result<Value, NoBooks> {
        Ok(self.api.record(path).await?)
    }

    /// PayPal's id of an attempt's capture or authorization.
    async fn id_of(
        &self,
        key: AttemptKey,
        capture: CaptureMethod,
    ) -> Result<Option<String>, NoBooks> {
        match self.references.known(&charge_key(key, capture)).await {
            Ok(Known::As(id)) => Ok(Some(id)),
            Ok(Known::Closed | Known::Nothing) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// PayPal does not keep orders for ever, but what they have charged.
    async fn charge_without_order(
        &self,
        key: AttemptKey,
        asked: &Asked,
    ) -> Result<Option<TheirCharge>, NoBooks> {
        let mut payments = Value::Null;
        for (list, capture) in [
            ("captures", CaptureMethod::Automatic),
            ("authorizations", CaptureMethod::Manual),
        ] {
            let Some(id) = self.id_of(key, capture).await? else {
                continue;
            };
            let payment = self.record(&format!("/v2/payments/{list}/{id}")).await?;
            if payment["id"] == id.as_str() {
                self.is_named(key, &payment).await?;
                payments[list] = serde_json::json!([payment]);
            }
        }
        if payments.is_null() {
            return Ok(None);
        }
        let read = charge(&asked.order, asked.amount.currency(), &payments);
        let read = read.map_err(NoBooks::Unreadable)?;
        Ok(Some(TheirCharge {
            key: Some(key),
            ..read
        }))
    }

    /// Whether an object names this attempt.
    async fn is_named(&self, key: AttemptKey, object: &Value) -> Result<(), NoBooks> {
        let installation = self.installation().await.map_err(failed)?;
        match attempt(object, installation) {
            Some(Subject::Attempt(named)) if named == key => Ok(()),
            _ => {
                let why = "its custom id does not name this payment and attempt";
                Err(NoBooks::Unreadable(why.to_owned()))
            }
        }
    }
}

fn failed(why: impl ToString) -> NoBooks {
    NoBooks::Failed(why.to_string())
}

fn asked(reference: &str) -> Result<Asked, NoBooks> {
    let unreadable = || NoBooks::Unreadable("our reference of its order cannot be read".to_owned());
    Asked::read(reference).ok_or_else(unreadable)
}

impl From<NotRead> for NoBooks {
    fn from((no_object, retry_after): NotRead) -> Self {
        match no_object {
            no_object if no_object == BUSY || no_object == NOT_CALLED => Self::Busy { retry_after },
            NoObject::NotExecuted(why) => failed(why),
            NoObject::Unknown(why) => failed(why),
            NoObject::Refused(error) => {
                let (name, message) = (&error["name"], &error["message"]);
                Self::Failed(format!("PayPal refused the request: {name} {message}"))
            }
        }
    }
}

fn listed<'v>(payments: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    payments[list].as_array().into_iter().flatten()
}

/// What the payments of an order have moved, or why that cannot be said.
fn charge(order: &str, currency: Currency, payments: &Value) -> Result<TheirCharge, String> {
    let mut charge = TheirCharge {
        reference: order.to_owned(),
        key: None,
        currency,
        held: 0,
        captured: 0,
        has_refunds: listed(payments, "refunds").next().is_some(),
        is_moving: false,
    };
    let mut currencies = Vec::new();
    let mut captures = listed(payments, "captures").peekable();
    let mut authorizations = listed(payments, "authorizations").peekable();
    let first = captures.peek().or(authorizations.peek());
    if let Some(id) = first.and_then(|payment| payment["id"].as_str()) {
        charge.reference = id.to_owned();
    }
    for capture in captures {
        let amount = amount_of(capture)?;
        currencies.push(amount.currency());
        match capture["status"].as_str().unwrap_or_default() {
            "COMPLETED" => charge.captured += amount.minor(),
            "PARTIALLY_REFUNDED" | "REFUNDED" => {
                charge.captured += amount.minor();
                charge.has_refunds = true;
            }
            "DECLINED" | "FAILED" => {}
            "PENDING" => charge.is_moving = true,
            other => return Err(format!("its capture is {other}")),
        }
    }
    let captured = charge.captured;
    for authorization in authorizations {
        let amount = amount_of(authorization)?;
        currencies.push(amount.currency());
        match authorization["status"].as_str().unwrap_or_default() {
            "CREATED" => charge.held += amount.minor(),
            "PARTIALLY_CAPTURED" => charge.held += (amount.minor() - captured).max(0),
            "CAPTURED" | "VOIDED" | "DENIED" | "EXPIRED" => {}
            "PENDING" => charge.is_moving = true,
            other => return Err(format!("its authorization is {other}")),
        }
    }
    currencies.dedup();
    match currencies.as_slice() {
        [] => Ok(charge),
        [currency] => Ok(TheirCharge {
            currency: *currency,
            ..charge
        }),
        _ => Err("it has several currencies".to_owned()),
    }
}

/// What was returned of captures beyond their refunds: PayPal, or a bank, has taken them back.
fn taken_back(payments: &Value, refunds: &[TheirRefund]) -> Result<Option<TheirRefund>, String> {
    let mut captures = listed(payments, "captures").filter(|it| it["status"] == "REFUNDED");
    let Some(capture) = captures.next() else {
        return Ok(None);
    };
    let refunds = refunds.iter().filter(|it| it.state != RefundState::Failed);
    let refunded: i64 = refunds.map(|it| it.amount).sum();
    let amount = amount_of(capture)?.minor() - refunded;
    let id = capture["id"].as_str().unwrap_or_default();
    Ok((amount > 0).then(|| TheirRefund {
        reference: id.to_owned(),
        operation: None,
        amount,
        state: RefundState::Succeeded,
    }))
}

fn amount_of(payment: &Value) -> Result<Money, String> {
    let amount = &payment["amount"];
    amount::read(amount).ok_or_else(|| format!("its amount is {amount}"))
}

fn refund(object: &Value, installation: &str) -> Option<TheirRefund> {
    let ours = object["invoice_id"].as_str();
    let ours = ours
        .or_else(|| object["custom_id"].as_str())
        .unwrap_or_default();
    let ours = ours
        .strip_prefix(installation)
        .and_then(|it| it.strip_prefix('-'));
    Some(TheirRefund {
        reference: object["id"].as_str().filter(|id| is_id(id))?.to_owned(),
        operation: ours.and_then(|id| id.parse().ok()).map(OperationId),
        amount: amount::read(&object["amount"])?.minor(),
        state: match object["status"].as_str()? {
            "COMPLETED" => RefundState::Succeeded,
            "PENDING" => RefundState::Pending,
            "FAILED" | "CANCELLED" => RefundState::Failed,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payment(status: &str, value: &str) -> Value {
        json!({"id": "3C6", "status": status, "amount": {"currency_code": "CAD", "value": value}})
    }

    fn read(payments: &Value) -> Result<(i64, i64, bool, bool), String> {
        let currency = Currency::parse("EUR").unwrap();
        let read = charge("5O1", currency, payments)?;
        Ok((read.held, read.captured, read.has_refunds, read.is_moving))
    }

    #[test]
    fn what_an_order_has_moved_is_read_in_minor_units() {
        let captures = |status| json!({"captures": [payment(status, "20.00")]});
        for (status, expected) in [
            ("COMPLETED", (0, 2000, false, false)),
            ("REFUNDED", (0, 2000, true, false)),
            ("PARTIALLY_REFUNDED", (0, 2000, true, false)),
            ("DECLINED", (0, 0, false, false)),
            ("PENDING", (0, 0, false, true)),
        ] {
            assert_eq!(read(&captures(status)), Ok(expected), "{status}");
        }
        let both = |status| json!({"captures": [payment("COMPLETED", "15.00")], "authorizations": [payment(status, "20.00")]});
        assert_eq!(read(&both("CAPTURED")), Ok((0, 1500, false, false)));
        assert_eq!(
            read(&both("PARTIALLY_CAPTURED")),
            Ok((500, 1500, false, false))
        );
        let held = json!({"authorizations": [payment("CREATED", "20.00")]});
        assert_eq!(read(&held), Ok((2000, 0, false, false)));
        assert_eq!(read(&Value::Null), Ok((0, 0, false, false)));
        for odd in [
            json!({"captures": [payment("LOVED", "20.00")]}),
            json!({"captures": [payment("COMPLETED", "20.001")]}),
            json!({"captures": [payment("COMPLETED", "20.00"),
                {"id": "1", "status": "COMPLETED", "amount": {"currency_code": "EUR", "value": "1.00"}}]}),
        ] {
            assert!(read(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_capture_without_enough_refunds_was_taken_back() {
        let payments = |status| json!({"captures": [payment(status, "20.00")]});
        let refund = |amount, state| TheirRefund {
            reference: "0K1".to_owned(),
            operation: None,
            amount,
            state,
        };
        let rest = |status, refunds: &[TheirRefund]| {
            let found = taken_back(&payments(status), refunds).unwrap();
            found.map(|it| it.amount)
        };
        assert_eq!(rest("REFUNDED", &[]), Some(2000));
        assert_eq!(rest("PARTIALLY_REFUNDED", &[]), None);
        let some = refund(500, RefundState::Succeeded);
        let failed = refund(1500, RefundState::Failed);
        assert_eq!(rest("REFUNDED", &[some.clone(), failed]), Some(1500));
        let pending = refund(1500, RefundState::Pending);
        assert_eq!(rest("REFUNDED", &[some, pending]), None);
    }
}
