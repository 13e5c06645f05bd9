//! Messages that could not be used, and rows that are set aside. Bodies are masked when they are read.

use std::sync::Arc;

use askama::Template;
use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Admin;
use super::shell::{self, Shell, Visitor, soon};
use crate::http::problem::{Kind, Problem};
use crate::store::RowSetAside;
use crate::wire::dead_letter::DeadLetter;

/// Dead letters on the page.
const MOST_SHOWN: u16 = 100;

/// Where dead letters are stored.
#[async_trait]
pub trait ReadDeadLetters: Send + Sync {
    /// The oldest ones, which stay where they are; or why they cannot be read.
    async fn read(&self, at_most: u16) -> Result<SomeDeadLetters, String>;
}

/// Some dead letters.
#[derive(Debug, Clone, Default)]
pub struct SomeDeadLetters {
    /// The oldest first.
    pub letters: Vec<DeadLetter>,
    /// Whether there are more, or others that another process is reading.
    pub more: bool,
}

#[derive(Template)]
#[template(path = "admin/dead_letters.html")]
struct DeadLettersPage {
    shell: Shell,
    letters: Vec<LetterView>,
    more: bool,
    /// Why the letters cannot be read.
    error: Option<String>,
    set_aside: Vec<RowSetAside>,
    /// Why the rows cannot be read.
    away: Option<String>,
}

struct LetterView {
    letter: DeadLetter,
    at: String,
    /// Indented.
    body: String,
}

impl LetterView {
    fn of(letter: DeadLetter) -> Self {
        Self {
            at: letter.at.clone().unwrap_or_default(),
            body: format!("{:#}", letter.body),
            letter,
        }
    }
}

/// The page. It does not renew itself: on RabbitMQ every reading takes the letters and gives them back.
pub async fn page(State(admin): State<Arc<Admin>>, visitor: Visitor) -> Response {
    let (letters, rows) = tokio::join!(
        admin.dead_letters.read(MOST_SHOWN),
        soon(admin.database.rows_set_aside())
    );
    let (found, error) = match letters {
        Ok(found) => (found, None),
        Err(error) => (SomeDeadLetters::default(), Some(error)),
    };
    let (set_aside, away) = match rows {
        Ok(rows) => (rows, None),
        Err(away) => (Vec::new(), Some(away.0)),
    };
    let status = if error.is_some() || away.is_some() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let page = DeadLettersPage {
        shell: Shell::new(&admin, &visitor, "/dead-letters"),
        letters: found.letters.into_iter().map(LetterView::of).collect(),
        more: found.more,
        error,
        set_aside,
        away,
    };
    shell::html(status, &page)
}

/// The same data.
pub async fn json(State(admin): State<Arc<Admin>>) -> Response {
    let found = match admin.dead_letters.read(MOST_SHOWN).await {
        Ok(found) => found,
        Err(error) => {
            let sentence = format!("The dead letters cannot be read: {error}.");
            return Problem::new(Kind::Unavailable, sentence).into_response();
        }
    };
    match soon(admin.database.rows_set_aside()).await {
        Ok(rows) => Json(json!({
            "dead_letters": found.letters,
            "more": found.more,
            "set_aside": rows,
        }))
        .into_response(),
        Err(away) => away.json(),
    }
}
