//! Applies [`access`](super::access) to every request for a page, and adds the headers that every answer has.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::access::{Access, Entry, Refused};
use super::shell::{self, Visitor};
use crate::http::page::language;
use crate::http::problem::{Kind, Problem};
use crate::http::server::Peer;

/// The script, the style and the data come from this listener, and nothing is written in the page itself. `form-action`:
/// the search.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

/// The check before every page.
pub async fn guard(State(admin): State<Arc<Admin>>, mut request: Request, next: Next) -> Response {
    let response = match admitted(&admin.access, &request) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(answer) => *answer,
    };
    protected(response)
}

/// The same headers for addresses and methods that no page has.
pub async fn guard_unknown(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => protected(response),
        _ => response,
    }
}

fn protected(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Who sends a request, or the answer that refuses it.
fn admitted(access: &Access, request: &Request) -> Result<Visitor, Box<Response>> {
    let (method, headers) = (request.method(), request.headers());
    let (path, peer) = (request.uri().path(), peer(request));
    let language = language(headers);
    let is_data = path.starts_with("/api/");
    if let Err(why) = access.check(method, request.uri(), headers) {
        access.refuse(why, peer);
        return Err(Box::new(foreign(why).into_response()));
    }
    if let Entry::Closed = access.entry {
        return Err(Box::new(if is_data {
            let sentence = "The operators' page is off: set ADMIN_FILE.";
            Problem::new(Kind::NotFound, sentence).into_response()
        } else {
            shell::closed(language)
        }));
    }
    let is_asset = path.starts_with("/assets/");
    let operator = access.operator(headers);
    match &operator {
        Some(operator) => {
            // An open page listens to the events all the time; the page itself is logged.
            if !is_asset && path != "/api/events" {
                access.log_reading(operator, path);
            }
        }
        None if is_asset || path == "/login" || path == "/logout" => {}
        None if is_data => {
            access.refuse(Refused::Session, peer);
            let sentence = "Log in first: the session is missing or has ended.";
            return Err(Box::new(
                Problem::new(Kind::Unauthorized, sentence).into_response(),
            ));
        }
        // Everyone's first visit: not counted as refused.
        None => return Err(Box::new(shell::login(StatusCode::UNAUTHORIZED, language))),
    }
    Ok(Visitor::new(language, operator))
}

fn foreign(why: Refused) -> Problem {
    let sentence = match why {
        Refused::Host => {
            "The operators' page is not served under this host and port: use the address that the service listens on, or \
             add the name to ADMIN_HOSTS."
        }
        _ => "The request comes from a page of another origin.",
    };
    Problem::new(Kind::CrossSite, sentence)
}

fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|Peer(ip)| *ip)
}
