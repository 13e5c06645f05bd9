//! `POST /login` and `POST /logout`. Both are sent by the page's script, so that the browser adds the `Origin`, which it
//! would not do for a form under `Referrer-Policy: no-referrer`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::access::{COOKIE_NAME, Entry, Refused, session_ids};
use super::sessions::LASTS;
use super::shell::Visitor;
use super::throttle::{TooMany, WINDOW};
use crate::http::body::JsonBody;
use crate::http::problem::{Kind, Problem};
use crate::http::server::Peer;

/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 256;

/// `{"token": "…"}`: 204 and the session's cookie, 401 for a wrong token, 429 after too many of them.
pub async fn log_in(
    State(admin): State<Arc<Admin>>,
    peer: Option<Extension<Peer>>,
    visitor: Visitor,
    JsonBody(body): JsonBody,
) -> Response {
    let access = &admin.access;
    let Entry::Login(operators) = &access.entry else {
        let sentence = "No login is needed here.";
        return Problem::new(Kind::NotFound, sentence).into_response();
    };
    let address = peer.map(|Extension(Peer(ip))| ip);
    let token = body["token"].as_str().unwrap_or_default();
    let check = || {
        let token = Some(token).filter(|token| (1..=LONGEST_TOKEN).contains(&token.len()))?;
        operators.by_token(token)
    };
    let from = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match access.throttle.attempt(from, check) {
        Ok(Some(proof)) => {
            tracing::info!(operator = &*proof.operator, "an operator has logged in");
            let id = access.sessions.start(proof);
            set_cookie(&id, LASTS.as_secs())
        }
        Ok(None) => {
            access.refuse(Refused::Token, address);
            let sentence = visitor
                .language
                .pick("This token is not known.", "Ce jeton est inconnu.");
            Problem::new(Kind::Unauthorized, sentence).into_response()
        }
        Err(TooMany) => {
            access.refuse(Refused::Throttled, address);
            let sentence = visitor.language.pick(
                "Too many wrong tokens; try again in a minute.",
                "Trop de jetons erronés ; réessayez dans une minute.",
            );
            let mut response = Problem::new(Kind::TooManyRequests, sentence).into_response();
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, WINDOW.as_secs().into());
            response
        }
    }
}

/// Ends the session: 204.
pub async fn log_out(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let access = &admin.access;
    for id in session_ids(&headers).filter(|_| access.entry.has_sessions()) {
        if let Some(proof) = access.sessions.proof(id) {
            tracing::info!(operator = &*proof.operator, "an operator has logged out");
        }
        access.sessions.end(id);
    }
    set_cookie("", 0)
}

/// Without `Secure`: the listener speaks plain HTTP, also behind a proxy that ends TLS.
fn set_cookie(id: &str, seconds: u64) -> Response {
    let cookie =
        format!("{COOKIE_NAME}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
