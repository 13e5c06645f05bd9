//! The newest refunds of all clients.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Admin;
use super::shell::{self, Shell, Visitor, soon};
use super::timeline::moment;
use crate::domain::OperationStatus;
use crate::http::page::{Language, amount};
use crate::payments::story;
use crate::store::rows::StoredOperation;

/// Refunds on the page.
const ON_A_PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "admin/refunds.html")]
struct RefundsPage {
    shell: Shell,
    rows: Vec<Row>,
}

/// A refund in the list.
struct Row {
    id: String,
    payment: i64,
    client: String,
    amount: String,
    /// The class for the style: that of a payment's status.
    class: &'static str,
    word: &'static str,
    code: String,
    reference: String,
    created: String,
}

impl Row {
    fn of(row: &StoredOperation, l: Language) -> Self {
        let refund = &row.operation;
        let (class, word) = match refund.status {
            OperationStatus::Pending => ("processing", l.pick("Pending", "En cours")),
            OperationStatus::Succeeded => ("succeeded", l.pick("Refunded", "Remboursé")),
            OperationStatus::Failed => ("failed", l.pick("Failed", "Échoué")),
        };
        let code = refund.failure_code.as_ref();
        Self {
            id: refund.id.to_string(),
            payment: refund.payment.0,
            client: refund.client.to_string(),
            amount: amount(refund.amount, l),
            class,
            word,
            code: code.map(ToString::to_string).unwrap_or_default(),
            reference: refund.client_reference.clone().unwrap_or_default(),
            created: moment(refund.created_at),
        }
    }
}

/// The page.
pub async fn page(State(admin): State<Arc<Admin>>, visitor: Visitor) -> Response {
    match soon(admin.database.newest_refunds(None, ON_A_PAGE)).await {
        Ok(refunds) => {
            let shell = Shell::new(&admin, &visitor, "/refunds").renewed(2000);
            let rows = refunds.iter().map(|row| Row::of(row, shell.l)).collect();
            shell::html(StatusCode::OK, &RefundsPage { shell, rows })
        }
        Err(away) => away.page(&admin, &visitor, "/refunds"),
    }
}

/// The same list.
pub async fn json(State(admin): State<Arc<Admin>>) -> Response {
    match soon(admin.database.newest_refunds(None, ON_A_PAGE)).await {
        Ok(refunds) => {
            let refunds: Vec<Value> = refunds.iter().map(story::refund).collect();
            Json(json!({ "refunds": refunds })).into_response()
        }
        Err(away) => away.json(),
    }
}
