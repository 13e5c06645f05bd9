//! An order: what PayPal says of an attempt.

use std::fmt;

use serde_json::Value;

use super::amount;
use crate::domain::{CaptureMethod, Currency, DeclineCode, Money};

/// What was asked for when an order was created: stored as its reference, because later calls name only the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// PayPal's id of the order.
    pub order: String,
    pub capture: CaptureMethod,
    pub amount: Money,
}

/// An order, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub id: String,
    pub status: Status,
    /// Which attempt it is for, as we have written it; none in short answers.
    pub ours: Option<String>,
    /// None in short answers.
    pub amount: Option<Money>,
    /// The page where the shopper pays.
    pub page: Option<String>,
    /// Authorizations, captures and refunds.
    pub payments: Value,
}

/// Its `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// The shopper has to act.
    Waiting,
    /// The shopper has approved; nothing is charged yet.
    Approved,
    /// It was captured or authorized, which may have failed.
    Completed,
    /// Nothing is or will be charged.
    Voided,
}

/// What became of capturing or authorizing an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Charge {
    /// The id of the capture, or of the authorization.
    Made(String),
    /// PayPal has not decided yet.
    Pending,
    Declined(DeclineCode),
    /// Neither paid as asked nor unpaid.
    OtherAmount,
}

/// Longest address of a page, in bytes.
const LONGEST_PAGE: usize = 2000;

impl Asked {
    /// Whether it captures or authorizes: the end of the call's path.
    pub(super) fn verb(&self) -> &'static str {
        match self.capture {
            CaptureMethod::Automatic => "capture",
            CaptureMethod::Manual => "authorize",
        }
    }

    /// Reads the stored reference.
    pub(super) fn read(reference: &str) -> Option<Self> {
        let words: Vec<&str> = reference.split(' ').collect();
        let [order, verb, value, currency] = words.as_slice() else {
            return None;
        };
        let capture = match *verb {
            "capture" => CaptureMethod::Automatic,
            "authorize" => CaptureMethod::Manual,
            _ => return None,
        };
        let currency = Currency::parse(currency).ok()?;
        Some(Self {
            order: (*order).to_owned(),
            capture,
            amount: Money::parse_text(value, currency).ok()?,
        })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.order, self.verb(), self.amount)
    }
}

impl Order {
    /// Reads PayPal's object; none if it is not an order, or has a status that this code does not know.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let status = match object["status"].as_str()? {
            "CREATED" | "SAVED" | "PAYER_ACTION_REQUIRED" => Status::Waiting,
            "APPROVED" => Status::Approved,
            "COMPLETED" => Status::Completed,
            "VOIDED" => Status::Voided,
            _ => return None,
        };
        let unit = &object["purchase_units"][0];
        Some(Self {
            id: object["id"].as_str().filter(|id| is_id(id))?.to_owned(),
            status,
            ours: unit["custom_id"].as_str().map(str::to_owned),
            amount: amount::read(&unit["amount"]),
            page: page(&object["links"]),
            payments: unit["payments"].clone(),
        })
    }

    /// Whether it is the order of this attempt, over this amount.
    pub(super) fn is_for(&self, ours: &str, amount: Money) -> bool {
        self.ours.as_deref() == Some(ours) && self.amount == Some(amount)
    }

    /// What became of capturing or authorizing it; none if that was not done, or cannot be read. What was charged once stays
    /// charged, whatever was tried before or afterwards.
    pub(super) fn charge(&self, asked: &Asked) -> Option<Charge> {
        let list = match asked.capture {
            CaptureMethod::Automatic => "captures",
            CaptureMethod::Manual => "authorizations",
        };
        let listed = self.payments[list]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let charges: Option<Vec<Charge>> = listed.iter().map(|it| charge(it, asked)).collect();
        let charges = charges?;
        let is_made = |charge: &&Charge| matches!(charge, Charge::Made(_) | Charge::OtherAmount);
        let mut made = charges.iter().filter(is_made);
        match (made.next(), made.next()) {
            (Some(made), None) => return Some(made.clone()),
            (Some(_), Some(_)) => return Some(Charge::OtherAmount),
            (None, _) => {}
        }
        if charges.contains(&Charge::Pending) {
            return Some(Charge::Pending);
        }
        // Otherwise the shopper can still go on.
        let is_over = self.status == Status::Completed;
        charges.into_iter().next_back().filter(|_| is_over)
    }
}

/// What one capture or authorization says; none if it cannot be read.
fn charge(payment: &Value, asked: &Asked) -> Option<Charge> {
    let id = payment["id"].as_str().filter(|id| is_id(id))?;
    match payment["status"].as_str()? {
        "COMPLETED" | "PARTIALLY_REFUNDED" | "REFUNDED" | "CREATED" | "CAPTURED"
        | "PARTIALLY_CAPTURED" => {
            let is_asked = amount::read(&payment["amount"])? == asked.amount;
            Some(match is_asked {
                true => Charge::Made(id.to_owned()),
                false => Charge::OtherAmount,
            })
        }
        "DECLINED" | "FAILED" | "DENIED" => Some(Charge::Declined(reason(payment))),
        "VOIDED" | "EXPIRED" => Some(Charge::Declined(CANCELED_THERE)),
        _ => Some(Charge::Pending),
    }
}

/// The page where the shopper pays.
fn page(links: &Value) -> Option<String> {
    let mut links = links.as_array()?.iter();
    let link = links.find(|link| link["rel"] == "payer-action" || link["rel"] == "approve")?;
    let address = link["href"].as_str()?;
    let secure = address.starts_with("https://");
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic());
    (secure && plain && address.len() <= LONGEST_PAGE).then(|| address.to_owned())
}

/// PayPal's ids are part of paths and references.
pub(super) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Somebody has voided it at PayPal.
pub(super) const CANCELED_THERE: DeclineCode = DeclineCode::from_static("canceled_at_processor");

/// Why a capture or a refund did not succeed.
pub(super) fn reason(payment: &Value) -> DeclineCode {
    code(payment["status_details"]["reason"].as_str())
}

/// Our code for PayPal's word: the same in lower case.
pub(super) fn code(word: Option<&str>) -> DeclineCode {
    let allowed = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    match word {
        Some(word) if (1..=64).contains(&word.len()) && word.bytes().all(allowed) => {
            DeclineCode::new(word.to_ascii_lowercase())
        }
        _ => DeclineCode::from_static("declined_by_processor"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(capture: CaptureMethod) -> Asked {
        let amount = Money::from_minor(2000, Currency::parse("CAD").unwrap()).unwrap();
        let order = "5O190127TN364715T".to_owned();
        Asked {
            order,
            capture,
            amount,
        }
    }

    fn completed(list: &str, status: &str, value: &str) -> Order {
        let payment = json!({"id": "3C6", "status": status, "amount": {"currency_code": "CAD", "value": value}});
        Order::read(&json!({
            "id": "5O1", "status": "COMPLETED", "purchase_units": [{"payments": {list: [payment]}}],
        }))
        .unwrap()
    }

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        for capture in [CaptureMethod::Automatic, CaptureMethod::Manual] {
            let asked = asked(capture);
            assert_eq!(Asked::read(&asked.to_string()), Some(asked));
        }
        for odd in [
            "",
            "5O1",
            "5O1 pay 1.00 CAD",
            "5O1 capture x CAD",
            "5O1 capture 1.00 CAD x",
        ] {
            assert_eq!(Asked::read(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_the_amount_that_was_asked_for_is_a_charge() {
        let (automatic, manual) = (
            asked(CaptureMethod::Automatic),
            asked(CaptureMethod::Manual),
        );
        let made = Some(Charge::Made("3C6".to_owned()));
        let charge = |status, value| completed("captures", status, value).charge(&automatic);
        assert_eq!(charge("COMPLETED", "20.00"), made);
        assert_eq!(charge("REFUNDED", "20.00"), made);
        assert_eq!(charge("COMPLETED", "19.99"), Some(Charge::OtherAmount));
        assert_eq!(charge("COMPLETED", "x"), None);
        assert_eq!(charge("PENDING", "20.00"), Some(Charge::Pending));
        assert_eq!(charge("SOMETHING", "20.00"), Some(Charge::Pending));
        assert!(matches!(
            charge("DECLINED", "20.00"),
            Some(Charge::Declined(_))
        ));
        let held = completed("authorizations", "CREATED", "20.00");
        assert_eq!(held.charge(&manual), made);
        assert_eq!(held.charge(&automatic), None, "nothing was captured");
        let order = json!({"id": "5O1", "status": "APPROVED"});
        assert_eq!(Order::read(&order).unwrap().charge(&automatic), None);
    }

    #[test]
    fn what_was_charged_counts_whatever_else_was_tried() {
        let asked = asked(CaptureMethod::Automatic);
        let charge = |order: &str, statuses: &[&str]| {
            let amount = json!({"currency_code": "CAD", "value": "20.00"});
            let captures = statuses.iter().enumerate().map(|(number, status)| {
                json!({"id": format!("3C{number}"), "status": status, "amount": amount})
            });
            let captures: Vec<Value> = captures.collect();
            let payments = json!([{"payments": {"captures": captures}}]);
            let order = json!({"id": "5O1", "status": order, "purchase_units": payments});
            Order::read(&order).unwrap().charge(&asked)
        };
        let made = |id: &str| Some(Charge::Made(id.to_owned()));
        assert_eq!(charge("COMPLETED", &["COMPLETED", "DECLINED"]), made("3C0"));
        assert_eq!(charge("COMPLETED", &["DECLINED", "COMPLETED"]), made("3C1"));
        assert_eq!(charge("APPROVED", &["DECLINED", "COMPLETED"]), made("3C1"));
        let twice = charge("COMPLETED", &["COMPLETED", "COMPLETED"]);
        assert_eq!(twice, Some(Charge::OtherAmount));
        let pending = charge("COMPLETED", &["PENDING", "DECLINED"]);
        assert_eq!(pending, Some(Charge::Pending));
        assert_eq!(charge("PAYER_ACTION_REQUIRED", &["DECLINED"]), None);
        assert!(matches!(
            charge("COMPLETED", &["DECLINED", "DECLINED"]),
            Some(Charge::Declined(_))
        ));
    }

    #[test]
    fn only_a_secure_page_is_shown_to_a_shopper() {
        let page = |href: &str| {
            let links = json!([{"rel": "self", "href": "https://x"}, {"rel": "payer-action", "href": href}]);
            let order = json!({"id": "5O1", "status": "PAYER_ACTION_REQUIRED", "links": links});
            Order::read(&order).unwrap().page
        };
        let good = "https://www.sandbox.paypal.com/checkoutnow?token=5O1";
        assert_eq!(page(good).as_deref(), Some(good));
        for odd in [
            "javascript:alert(1)",
            "https://a b",
            "",
            &format!("https://{}", "x".repeat(2000)),
        ] {
            assert_eq!(page(odd), None, "{odd}");
        }
    }

    #[test]
    fn anything_but_an_order_is_none() {
        for odd in [
            json!(null),
            json!({"id": "5O1", "status": "LOVED"}),
            json!({"status": "APPROVED"}),
            json!({"id": "../5O1", "status": "APPROVED"}),
        ] {
            assert_eq!(Order::read(&odd), None, "{odd}");
        }
        assert_eq!(
            code(Some("INSTRUMENT_DECLINED")).as_str(),
            "instrument_declined"
        );
        assert_eq!(code(Some("<script>")).as_str(), "declined_by_processor");
    }
}
