//! `payments list --needs-person` and `payments dismiss`.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::Filter;
use crate::cli::output;
use crate::domain::{OrderId, PaymentId};
use crate::payments::needs_person::{self, Case};
use crate::payments::story;
use crate::processors::named::Processors;
use crate::store::rows::StoredPayment;
use crate::store::{Store, StoreError};

/// Prints the payments that fit the filter, the oldest first.
pub(super) async fn list(
    database: &Store,
    processors: &Processors,
    filter: &Filter,
) -> Result<ExitCode, StoreError> {
    let cases = needs_person::by_payment(database, processors).await?;
    let ids: Vec<PaymentId> = cases.keys().copied().collect();
    let mut rows = database.payments_by_id(&ids).await?;
    rows.retain(|row| fits(row, filter));
    rows.sort_by_key(|row| row.payment.id);
    rows.truncate(filter.limit as usize);
    let of = |row: &StoredPayment| cases.get(&row.payment.id).map_or(&[][..], Vec::as_slice);
    if filter.json {
        let payments = rows.iter().map(|row| as_json(row, of(row)));
        crate::outln!("{:#}", payments.collect::<Value>());
    } else {
        let text: String = rows.iter().map(|row| as_text(row, of(row))).collect();
        let none = "no payment needs a person\n";
        crate::out!("{}", if text.is_empty() { none } else { &text });
    }
    Ok(ExitCode::SUCCESS)
}

/// Dismisses what differs about a payment, and prints it.
pub(super) async fn dismiss(database: &Store, payment: PaymentId) -> Result<ExitCode, StoreError> {
    let dismissed = needs_person::dismiss(database, payment).await?;
    for case in &dismissed {
        let words = output::printable(&case.in_words());
        crate::outln!("dismissed: {words}");
    }
    if dismissed.is_empty() {
        crate::errln!(
            "payment-service: no event of a platform has shown a difference of payment {payment}: there is nothing to dismiss"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn fits(row: &StoredPayment, filter: &Filter) -> bool {
    let payment = &row.payment;
    filter
        .order
        .is_none_or(|order| payment.order_id == OrderId(order))
        && filter.status.is_none_or(|status| payment.status == status)
        && filter
            .client
            .as_ref()
            .is_none_or(|client| payment.client == *client)
}

fn as_json(row: &StoredPayment, cases: &[Case]) -> Value {
    let mut payment = story::payment(row);
    payment["needs_person"] = cases.iter().map(Case::to_json).collect();
    payment
}

fn as_text(row: &StoredPayment, cases: &[Case]) -> String {
    let payment = &row.payment;
    let mut text = String::new();
    for case in cases {
        let _ = writeln!(
            text,
            "{}, {} of {}, {}. {}.",
            output::printable(&case.in_words()),
            payment.amount,
            payment.client.as_str(),
            payment.status.as_str(),
            case.what_to_do()
        );
    }
    text
}
