//! What all pages share: the frame with the navigation, and the pages that stand for others.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::http::page::Language;
use crate::http::problem::{Kind, Problem};
use crate::store::StoreError;

/// How long a page waits for the database: a reader gets an answer within two seconds in any case.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who reads a page, and in which language.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub language: Language,
    /// The name; empty if no login is needed, none on the login page.
    pub operator: Option<Arc<str>>,
}

impl Visitor {
    pub fn new(language: Language, operator: Option<Arc<str>>) -> Self {
        Self { language, operator }
    }
}

/// The guard has put it there.
impl FromRequestParts<Arc<Admin>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Admin>) -> Result<Self, Infallible> {
        let visitor = parts.extensions.get::<Self>().cloned();
        Ok(visitor.unwrap_or_else(|| Self::new(Language::default(), None)))
    }
}

/// The frame of a page.
#[derive(Debug, Clone)]
pub struct Shell {
    pub l: Language,
    /// Shown with the button to log out; empty if no login is needed.
    pub operator: Option<Arc<str>>,
    /// The path of the current page's entry in the navigation.
    pub here: &'static str,
    /// Whether the navigation has the test cards.
    pub try_it: bool,
    /// After how many milliseconds the page is fetched again; 0 for never.
    pub renewed: u32,
    /// Whether its main part comes by the events; then it is fetched only while they are away.
    pub watches: bool,
}

impl Shell {
    pub fn new(admin: &Admin, visitor: &Visitor, here: &'static str) -> Self {
        Self {
            l: visitor.language,
            operator: visitor.operator.clone(),
            here,
            try_it: admin.acceptor.is_some(),
            renewed: 0,
            watches: false,
        }
    }

    pub fn renewed(self, renewed: u32) -> Self {
        Self { renewed, ..self }
    }

    pub fn watches(self) -> Self {
        Self {
            watches: true,
            ..self
        }
    }

    /// Whether somebody is logged in, rather than let in without a token.
    pub fn is_logged_in(&self) -> bool {
        self.operator.as_ref().is_some_and(|name| !name.is_empty())
    }
}

/// The database did not answer in time, or with an error.
#[derive(Debug)]
pub struct Away(pub String);

/// Reads from the database, but does not wait longer than a reader should.
pub async fn soon<T>(reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Away> {
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Away(error.to_string())),
        Err(_) => Err(Away(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

impl Away {
    /// The page for it: it renews itself.
    pub fn page(&self, admin: &Admin, visitor: &Visitor, here: &'static str) -> Response {
        let shell = Shell::new(admin, visitor, here).renewed(1000);
        let page = AwayPage {
            shell,
            error: &self.0,
        };
        html(StatusCode::SERVICE_UNAVAILABLE, &page)
    }

    /// The JSON for it.
    pub fn json(&self) -> Response {
        let sentence = format!(
            "The database cannot be read: {}. Run `payment-service check`.",
            self.0
        );
        Problem::new(Kind::Unavailable, sentence).into_response()
    }
}

#[derive(Template)]
#[template(path = "admin/away.html")]
struct AwayPage<'a> {
    shell: Shell,
    error: &'a str,
}

#[derive(Template)]
#[template(path = "admin/login.html")]
struct LoginPage {
    shell: Shell,
}

#[derive(Template)]
#[template(path = "admin/closed.html")]
struct ClosedPage {
    shell: Shell,
}

#[derive(Template)]
#[template(path = "admin/missing.html")]
struct MissingPage<'a> {
    shell: Shell,
    id: &'a str,
}

/// A frame without navigation.
pub fn bare(l: Language) -> Shell {
    Shell {
        l,
        operator: None,
        here: "",
        try_it: false,
        renewed: 0,
        watches: false,
    }
}

/// The form to log in.
pub fn login(status: StatusCode, language: Language) -> Response {
    html(
        status,
        &LoginPage {
            shell: bare(language),
        },
    )
}

/// Says how the page is switched on.
pub fn closed(language: Language) -> Response {
    html(
        StatusCode::NOT_FOUND,
        &ClosedPage {
            shell: bare(language),
        },
    )
}

/// There is no payment with this id.
pub fn missing(admin: &Admin, visitor: &Visitor, id: &str) -> Response {
    let shell = Shell::new(admin, visitor, "/payments");
    html(StatusCode::NOT_FOUND, &MissingPage { shell, id })
}

/// A page.
pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            let headers = [
                (CONTENT_TYPE, "text/html; charset=utf-8"),
                (VARY, "Accept-Language, Cookie"),
            ];
            (status, headers, html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Problem::internal().into_response()
        }
    }
}
