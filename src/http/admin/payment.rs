//! One payment with its timeline.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::shell::{self, Away, Shell, Visitor, soon};
use super::timeline::{Line, lines, moment, operation_word, status_word};
use crate::domain::{OperationSource, OperationStatus, Payment, PaymentId, PaymentStatus};
use crate::http::page::{Language, amount};
use crate::http::problem::{Kind, Problem};
use crate::payments::story::{Searched, Story};
use crate::store::rows::StoredOperation;
use crate::store::{RowSetAside, StoreError};

#[derive(Template)]
#[template(path = "admin/payment.html")]
struct PaymentPage {
    shell: Shell,
    id: i64,
    status: &'static str,
    word: &'static str,
    amount: String,
    details: Vec<(&'static str, String)>,
    timeline: Vec<Line>,
    operations: Vec<OperationRow>,
    /// Indented.
    json: String,
}

/// A capture, void or refund.
struct OperationRow {
    word: &'static str,
    amount: String,
    status: &'static str,
    class: &'static str,
    detail: String,
    at: String,
}

#[derive(Template)]
#[template(path = "admin/set_aside.html")]
struct SetAsidePage {
    shell: Shell,
    id: i64,
    reason: String,
}

/// A payment as it was found.
enum Found {
    Story(Box<Story>),
    SetAside(String),
    Nothing,
}

async fn find(admin: &Admin, id: i64) -> Result<Found, Away> {
    let reading = async {
        match Story::read(&admin.database, PaymentId(id), Searched::Newest).await {
            Ok(Some(story)) => Ok(Found::Story(Box::new(story))),
            Ok(None) => Ok(Found::Nothing),
            Err(StoreError::Quarantined(payment)) => Ok(Found::SetAside(payment.reason)),
            Err(error) => Err(error),
        }
    };
    soon(reading).await
}

/// The page; it renews itself more often while something is under way.
pub async fn page(
    State(admin): State<Arc<Admin>>,
    visitor: Visitor,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // It is no text if its percent-encoding is no UTF-8.
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    let Some(number) = number(&id) else {
        return shell::missing(&admin, &visitor, shown(&id));
    };
    let shell = Shell::new(&admin, &visitor, "/payments");
    match find(&admin, number).await {
        Ok(Found::Story(story)) => {
            let page = PaymentPage::new(&story, shell);
            shell::html(StatusCode::OK, &page)
        }
        Ok(Found::SetAside(reason)) => {
            let page = SetAsidePage {
                shell,
                id: number,
                reason,
            };
            shell::html(StatusCode::OK, &page)
        }
        Ok(Found::Nothing) => shell::missing(&admin, &visitor, shown(&id)),
        Err(away) => away.page(&admin, &visitor, "/payments"),
    }
}

/// The same data, as `payments show --json` prints it.
pub async fn json(
    State(admin): State<Arc<Admin>>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    let Some(number) = number(&id) else {
        let sentence = "A payment's id is a whole number.";
        return Problem::new(Kind::BadRequest, sentence).into_response();
    };
    match find(&admin, number).await {
        Ok(Found::Story(story)) => Json(story.to_json()).into_response(),
        Ok(Found::SetAside(reason)) => {
            let row = RowSetAside {
                table: "payments",
                id: number.to_string(),
                payment_id: Some(number),
                reason,
            };
            Json(serde_json::json!({ "payment_id": number, "set_aside": row })).into_response()
        }
        Ok(Found::Nothing) => Problem::no_payment(PaymentId(number)).into_response(),
        Err(away) => away.json(),
    }
}

fn number(id: &str) -> Option<i64> {
    id.parse().ok().filter(|id| *id >= 0)
}

/// The part of an id that is shown when it does not exist.
fn shown(id: &str) -> &str {
    id.char_indices()
        .nth(20)
        .map_or(id, |(end, _)| id.get(..end).unwrap_or_default())
}

impl PaymentPage {
    fn new(story: &Story, shell: Shell) -> Self {
        let (l, payment) = (shell.l, &story.row.payment);
        let pending = |row: &StoredOperation| row.operation.status == OperationStatus::Pending;
        let is_under_way = payment.status == PaymentStatus::Processing
            || story.operations.iter().any(pending)
            || !story.due.is_empty();
        Self {
            shell: shell.renewed(if is_under_way { 500 } else { 3000 }),
            id: payment.id.0,
            status: payment.status.as_str(),
            word: status_word(payment.status, l),
            amount: amount(payment.amount, l),
            details: details(story, l),
            timeline: lines(story, l),
            operations: story
                .operations
                .iter()
                .map(|row| operation(row, l))
                .collect(),
            json: format!("{:#}", story.to_json()),
        }
    }
}

fn details(story: &Story, l: Language) -> Vec<(&'static str, String)> {
    let payment = &story.row.payment;
    let code = payment.decline_code.as_ref().map(ToString::to_string);
    let card = payment
        .card()
        .map(|card| format!("{} •••• {}", card.brand, card.last4));
    let method = card.or_else(|| payment.method.as_ref().map(|it| it.name().to_owned()));
    let until = story.row.claimed_until;
    let tries = format!("{} / {}", payment.attempt, story.row.try_number);
    [
        (l.pick("Client", "Client"), Some(payment.client.to_string())),
        (
            l.pick("Order", "Commande"),
            Some(payment.order_id.0.to_string()),
        ),
        (
            l.pick("Shopper", "Acheteur"),
            Some(payment.user_id.0.to_string()),
        ),
        (l.pick("Paid with", "Payé par"), method),
        (l.pick("Decline code", "Motif du refus"), code),
        (
            l.pick("Authorization", "Autorisation"),
            payment.authorization_code.clone(),
        ),
        (l.pick("Attempt / try", "Tentative / essai"), Some(tries)),
        (
            l.pick("A worker holds it until", "Un worker le tient jusqu’à"),
            until.map(moment),
        ),
        (
            l.pick("Capture before", "À encaisser avant"),
            payment.funds.capture_before.map(moment),
        ),
        (
            l.pick("Disputes", "Contestations"),
            (!payment.disputes.is_empty()).then(|| disputes(payment, l)),
        ),
        (l.pick("Created", "Créé"), Some(moment(payment.created_at))),
        (
            l.pick("Changed", "Modifié"),
            Some(moment(payment.updated_at)),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn disputes(payment: &Payment, l: Language) -> String {
    let open = l.pick("open", "ouverte");
    let disputes = payment.disputes.iter().map(|it| {
        let ended = it.ended.as_deref().unwrap_or(open);
        format!("{} ({}): {ended}", it.reference, it.reason)
    });
    disputes.collect::<Vec<_>>().join(", ")
}

fn operation(row: &StoredOperation, l: Language) -> OperationRow {
    let operation = &row.operation;
    let (status, class) = match operation.status {
        OperationStatus::Pending => (l.pick("pending", "en attente"), "waiting"),
        OperationStatus::Succeeded => (l.pick("succeeded", "réussi"), "good"),
        OperationStatus::Failed => (l.pick("failed", "échoué"), "bad"),
    };
    let code = operation.failure_code.as_ref().map(ToString::to_string);
    let made_there = l.pick("made at the platform", "fait sur la plateforme");
    let source = (operation.source == OperationSource::Processor).then(|| made_there.to_owned());
    let detail = [
        source,
        code,
        operation.reason.clone(),
        operation.client_reference.clone(),
    ];
    let detail: Vec<String> = detail.into_iter().flatten().collect();
    OperationRow {
        word: operation_word(operation.kind, l),
        amount: amount(operation.amount, l),
        status,
        class,
        detail: detail.join(" · "),
        at: moment(operation.created_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_does_not_exist_is_shown_in_part() {
        assert_eq!(shown("7"), "7");
        assert_eq!(shown(&"é".repeat(30)), "é".repeat(20));
        assert_eq!(
            (number("7"), number("-7"), number("x")),
            (Some(7), None, None)
        );
    }
}
