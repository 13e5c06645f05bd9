//! Which operations the issuer carries out: one pure function over what it has recorded for an authorization.

use crate::domain::OperationKind;
use crate::store::rows::{IssuerOperation, LedgerEntry};

/// What a call asks the ledger to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Carry the operation out.
    Execute,
    /// Make sure that it is carried out or never will be.
    Close,
    /// Only look.
    Look,
    /// Return a refund that was carried out: the card's bank has sent the money back.
    Return,
}

/// The state of an operation in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationStanding {
    /// Nothing is recorded under its key.
    Blank,
    /// Carried out.
    Executed,
    /// Carried out, and returned afterwards.
    Returned,
    /// It will never be carried out.
    Closed,
    /// Not possible, with a code; the second value says whether the authorization is gone.
    Refused(&'static str, bool),
}

/// What a request does to the operation, and what it is recorded as; `None` changes nothing.
pub fn decide(
    authorization: Option<&LedgerEntry>,
    others: &[&IssuerOperation],
    own: Option<&IssuerOperation>,
    (request, wanted): (Request, &IssuerOperation),
) -> (OperationStanding, Option<Change>) {
    match (own, request) {
        (Some(own), Request::Return) if own.executed && !own.returned => {
            (OperationStanding::Returned, Some(Change::Return))
        }
        (Some(own), _) => (standing(own), None),
        (None, Request::Look | Request::Return) => (OperationStanding::Blank, None),
        (None, Request::Close) => (OperationStanding::Closed, Some(Change::Close)),
        (None, Request::Execute) => match refusal(authorization, others, wanted) {
            Some((code, gone)) => (OperationStanding::Refused(code, gone), None),
            None => (OperationStanding::Executed, Some(Change::Execute)),
        },
    }
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The operation is carried out.
    Execute,
    /// It will never be carried out.
    Close,
    /// A refund is returned.
    Return,
}

fn standing(own: &IssuerOperation) -> OperationStanding {
    match (own.executed, own.returned) {
        (true, true) => OperationStanding::Returned,
        (true, false) => OperationStanding::Executed,
        (false, _) => OperationStanding::Closed,
    }
}

/// Why the operation is not possible, if it is not.
fn refusal(
    authorization: Option<&LedgerEntry>,
    others: &[&IssuerOperation],
    wanted: &IssuerOperation,
) -> Option<(&'static str, bool)> {
    let Some(authorization) = authorization.filter(|entry| entry.charged_at.is_some()) else {
        return Some(("authorization_unknown", true));
    };
    if authorization.reversed_at.is_some() {
        return Some(("authorization_reversed", true));
    }
    let amount_of = |kind| {
        let others = others.iter();
        let of_kind =
            others.filter(|other| other.kind == kind && other.executed && !other.returned);
        let amounts: Vec<i64> = of_kind.map(|other| other.amount).collect();
        (!amounts.is_empty()).then(|| amounts.iter().sum::<i64>())
    };
    let captured = match authorization.held {
        true => amount_of(OperationKind::Capture),
        false => Some(authorization.amount),
    };
    let voided = amount_of(OperationKind::Void).is_some();
    match wanted.kind {
        OperationKind::Void if voided => Some(("authorization_voided", true)),
        OperationKind::Capture if voided => Some(("authorization_voided", true)),
        OperationKind::Capture | OperationKind::Void if captured.is_some() => {
            Some(("already_captured", false))
        }
        OperationKind::Capture if wanted.amount > authorization.amount => {
            Some(("amount_too_large", false))
        }
        OperationKind::Capture | OperationKind::Void => None,
        OperationKind::Refund => {
            let refunded = amount_of(OperationKind::Refund).unwrap_or(0);
            match captured {
                None => Some(("nothing_captured", false)),
                Some(captured) if wanted.amount > captured - refunded => {
                    Some(("amount_too_large", false))
                }
                Some(_) => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::{Currency, PaymentId};

    fn held(held: bool) -> LedgerEntry {
        LedgerEntry {
            key: "3-1".to_owned(),
            payment: PaymentId(3),
            amount: 100,
            held,
            test_card: None,
            charged_at: Some(datetime!(2026-11-26 12:00 UTC)),
            reversed_at: None,
        }
    }

    fn operation(key: &str, kind: OperationKind, amount: i64) -> IssuerOperation {
        IssuerOperation {
            key: key.to_owned(),
            authorization: "3-1".to_owned(),
            payment: PaymentId(3),
            kind,
            amount,
            currency: Currency::parse("CAD").expect("CAD"),
            executed: true,
            returned: false,
        }
    }

    fn execute(
        authorization: &LedgerEntry,
        others: &[&IssuerOperation],
        wanted: &IssuerOperation,
    ) -> OperationStanding {
        let request = (Request::Execute, wanted);
        decide(Some(authorization), others, None, request).0
    }

    #[test]
    fn an_amount_is_captured_or_released_once() {
        let (capture, void) = (
            operation("a", OperationKind::Capture, 60),
            operation("b", OperationKind::Void, 100),
        );
        let authorization = held(true);
        assert_eq!(
            execute(&authorization, &[], &capture),
            OperationStanding::Executed
        );
        let refused = execute(&authorization, &[&capture], &void);
        assert_eq!(
            refused,
            OperationStanding::Refused("already_captured", false)
        );
        let refused = execute(&authorization, &[&void], &capture);
        assert_eq!(
            refused,
            OperationStanding::Refused("authorization_voided", true)
        );
        let at_once = execute(&held(false), &[], &capture);
        assert_eq!(
            at_once,
            OperationStanding::Refused("already_captured", false)
        );
        let more = operation("c", OperationKind::Capture, 101);
        let refused = execute(&authorization, &[], &more);
        assert_eq!(
            refused,
            OperationStanding::Refused("amount_too_large", false)
        );
    }

    #[test]
    fn refunds_together_are_never_more_than_what_was_captured() {
        let capture = operation("a", OperationKind::Capture, 60);
        let refund = operation("b", OperationKind::Refund, 40);
        let another = operation("c", OperationKind::Refund, 30);
        let authorization = held(true);
        let nothing = execute(&authorization, &[], &refund);
        assert_eq!(
            nothing,
            OperationStanding::Refused("nothing_captured", false)
        );
        let first = execute(&authorization, &[&capture], &refund);
        assert_eq!(first, OperationStanding::Executed);
        let second = execute(&authorization, &[&capture, &refund], &another);
        assert_eq!(
            second,
            OperationStanding::Refused("amount_too_large", false)
        );
        let returned = IssuerOperation {
            returned: true,
            ..refund
        };
        let second = execute(&authorization, &[&capture, &returned], &another);
        assert_eq!(second, OperationStanding::Executed);
    }

    #[test]
    fn what_is_closed_is_never_carried_out_and_what_is_carried_out_cannot_be_closed() {
        let refund = operation("b", OperationKind::Refund, 40);
        let closed = IssuerOperation {
            executed: false,
            ..refund.clone()
        };
        let authorization = held(false);
        let execute = (Request::Execute, &refund);
        let after = decide(Some(&authorization), &[], Some(&closed), execute);
        assert_eq!(after, (OperationStanding::Closed, None));
        let close = (Request::Close, &refund);
        let after = decide(Some(&authorization), &[], Some(&refund), close);
        assert_eq!(after, (OperationStanding::Executed, None));
        let after = decide(Some(&authorization), &[], None, close);
        assert_eq!(after, (OperationStanding::Closed, Some(Change::Close)));
    }
}
