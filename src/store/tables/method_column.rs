//! The column `method` of `payments`: what the card columns do not tell of the current attempt's payment method.
//!
//! `{attempt} card {funding}`. The attempt distinguishes it from that of an earlier attempt: a process of a release before
//! the column presents another card without changing it.

use crate::domain::{Funding, Payment};
use crate::store::cells::Cell;

/// The column's value.
pub(super) fn written(payment: &Payment) -> Cell<'_> {
    let card = payment.card.as_ref();
    card.map(|card| format!("{} card {}", payment.attempt, card.funding))
        .into()
}

/// The funding of the current attempt's card; unknown if an earlier release wrote the card.
pub(super) fn funding(column: Option<&str>, attempt: i64) -> Funding {
    let read = || {
        let mut words = column?.splitn(3, ' ');
        let current = words.next()?.parse() == Ok(attempt);
        let of_card = current && words.next()? == "card";
        of_card.then_some(words.next()?).and_then(Funding::parse)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_for_this_attempt_counts() {
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
}
