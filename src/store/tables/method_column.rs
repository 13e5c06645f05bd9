//! The column `method` of `payments`: what the card columns do not tell of the current attempt's payment method.
//!
//! `{attempt} card {funding}`, followed by the processor if a route has chosen one, or `{attempt} {type} {shown fields as JSON}`. The attempt distinguishes it from that of an
//! earlier attempt: a process of a release before the column presents another card without changing it.

use crate::domain::{CardSummary, Funding, MethodSummary, OtherSummary, Payment};
use crate::store::StoreError;
use crate::store::sql_values::{SqlValue, to_json};

/// The column's value.
pub(super) fn written(payment: &Payment) -> Result<SqlValue<'_>, StoreError> {
    let attempt = payment.attempt;
    let text = match &payment.method {
        None => return Ok(SqlValue::Null),
        Some(MethodSummary::Card(card)) => match &card.processor {
            None => format!("{attempt} card {}", card.funding),
            Some(processor) => format!("{attempt} card {} {processor}", card.funding),
        },
        Some(MethodSummary::Other(OtherSummary { name, shown })) => {
            format!("{attempt} {name} {}", to_json(shown)?)
        }
    };
    Ok(text.into())
}

/// The payment method of the current attempt, whose card columns contain this card.
pub(super) fn read(
    card: Option<CardSummary>,
    column: Option<&str>,
    attempt: i64,
) -> Result<Option<MethodSummary>, ()> {
    let current = column.and_then(|text| of_attempt(text, attempt));
    match (card, current) {
        (Some(card), current) => {
            let written = current.filter(|(name, _)| *name == "card");
            let mut words = written
                .map(|(_, text)| text.split(' '))
                .into_iter()
                .flatten();
            // Unknown if an earlier release wrote the card.
            let funding = words.next().and_then(Funding::parse).unwrap_or_default();
            let processor = words.next().map(str::to_owned);
            Ok(Some(
                CardSummary {
                    funding,
                    processor,
                    ..card
                }
                .into(),
            ))
        }
        (None, Some((name, shown))) if name != "card" => {
            Ok(Some(MethodSummary::Other(OtherSummary {
                name: name.to_owned(),
                shown: serde_json::from_str(shown).map_err(|_| ())?,
            })))
        }
        (None, _) => Ok(None),
    }
}

/// The processor that has the current attempt, if the column names one.
pub(super) fn processor(column: Option<&str>, attempt: i64) -> Option<String> {
    match of_attempt(column?, attempt)? {
        ("card", text) => text.split(' ').nth(1).map(str::to_owned),
        _ => {
            let method = read(None, column, attempt).ok().flatten()?;
            method.processor().map(str::to_owned)
        }
    }
}

/// Type and the rest, if they were written for this attempt.
fn of_attempt(column: &str, attempt: i64) -> Option<(&str, &str)> {
    let mut words = column.splitn(3, ' ');
    if words.next()?.parse() != Ok(attempt) {
        return None;
    }
    Some((words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Brand, Expiration};

    fn card() -> CardSummary {
        CardSummary {
            brand: Brand::Visa,
            last4: "4242".to_owned(),
            expiration: Expiration::parse("2030-01").unwrap(),
            funding: Funding::Unknown,
            processor: None,
        }
    }

    #[test]
    fn only_what_was_written_for_this_attempt_counts() {
        let funding = |column, attempt| {
            let method = read(Some(card()), column, attempt).unwrap().unwrap();
            method.card().unwrap().funding
        };
        assert_eq!(funding(Some("2 card debit"), 2), Funding::Debit);
        for (column, attempt) in [
            (None, 2),
            (Some("1 card debit"), 2),
            (Some("2 card"), 2),
            (Some("2 card gold"), 2),
            (Some("2 voucher debit"), 2),
            (Some(""), 2),
        ] {
            assert_eq!(funding(column, attempt), Funding::Unknown, "{column:?}");
        }
    }

    #[test]
    fn the_processor_is_read_whatever_the_method_is() {
        let of = |column| processor(Some(column), 2);
        assert_eq!(of("2 card debit first").as_deref(), Some("first"));
        let token = r#"2 token {"processor":"stripe"}"#;
        assert_eq!(of(token).as_deref(), Some("stripe"));
        for none in [
            "2 card debit",
            "1 card debit first",
            r#"2 wallet {}"#,
            "2 token x",
            "",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(processor(None, 2), None);
    }

    #[test]
    fn another_method_has_no_card() {
        let column = r#"1 voucher {"code_ends":"12 34"}"#;
        let Ok(Some(MethodSummary::Other(voucher))) = read(None, Some(column), 1) else {
            panic!("not read");
        };
        assert_eq!(
            (voucher.name.as_str(), voucher.shown["code_ends"].as_str()),
            ("voucher", "12 34")
        );
        assert_eq!(read(None, Some(column), 2), Ok(None));
        assert_eq!(read(None, None, 1), Ok(None));
        assert_eq!(read(None, Some("1 voucher x"), 1), Err(()));
    }
}
