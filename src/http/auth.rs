//! Authenticates callers: `Authorization: Bearer <api key>` (RFC 6750) is checked against the known clients.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::admission::Turn;
use super::observed::Known;
use super::problem::{Kind, Problem};
use crate::clients::Clients;
use crate::domain::ClientName;
use crate::metric;

/// The client that makes a request, and its turn. A handler with this argument serves only that client, and counts among
/// its requests until the turn is dropped.
#[derive(Debug)]
pub struct Caller(pub ClientName, pub Turn);

/// Delay before a client with too many requests under way is refused, and the `Retry-After` of that answer: without the
/// delay, a client that retries at once would spend on refusals the capacity that others need.
const REFUSED_AFTER: Duration = Duration::from_secs(1);

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let client = identify(&api.clients, &parts.headers)?;
        Known::client(parts, &client);
        if let Some(turn) = api.admission.admit(&client) {
            return Ok(Self(client, turn));
        }
        metrics::counter!(metric::HTTP_REQUESTS_REFUSED, "client" => client.to_string())
            .increment(1);
        tokio::time::sleep(REFUSED_AFTER).await;
        let sentence = "Too many of your requests are under way; send fewer at the same time.";
        Err(Problem::new(Kind::TooManyRequests, sentence))
    }
}

fn identify(clients: &Clients, headers: &HeaderMap) -> Result<ClientName, Problem> {
    if let Some(client) = clients.default_client() {
        return Ok(client);
    }
    let key = bearer(headers).ok_or_else(|| {
        let sentence = "Send your API key: the header is Authorization: Bearer <api key>.";
        Problem::new(Kind::Unauthorized, sentence)
    })?;
    clients
        .by_api_key(key)
        .ok_or_else(|| Problem::new(Kind::Unauthorized, "The API key is unknown."))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::new_api_key;

    fn status(clients: &Clients, authorization: Option<&str>) -> Result<String, Kind> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().expect("a header"));
        }
        identify(clients, &headers)
            .map(|client| client.to_string())
            .map_err(|problem| problem.kind())
    }

    #[test]
    fn only_known_keys_are_accepted() {
        let (key, digest) = new_api_key();
        let file =
            format!(r#"{{"clients": [{{"name": "shop", "api_key_sha256": ["{digest}"]}}]}}"#);
        let clients = Clients::parse(file.as_bytes()).expect("a good file");
        let shop = Ok("shop".to_owned());
        assert_eq!(status(&clients, Some(&format!("Bearer {key}"))), shop);
        assert_eq!(status(&clients, Some(&format!("bearer  {key}"))), shop);
        for wrong in [
            None,
            Some(key.clone()),
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some(format!("Basic {key}")),
            Some(format!("Bearer {key}x")),
            Some(format!("Bearer {digest}")),
        ] {
            assert_eq!(status(&clients, wrong.as_deref()), Err(Kind::Unauthorized));
        }
    }

    #[test]
    fn without_a_file_everyone_is_the_default_client() {
        let clients = Clients::single();
        assert_eq!(status(&clients, None), Ok("default".to_owned()));
        assert_eq!(status(&clients, Some("Bearer x")), Ok("default".to_owned()));
    }
}
