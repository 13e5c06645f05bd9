//! Access tokens: one for all calls, renewed by one of them before it ends.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::processors::http::{BUSY, Http, KEY_REFUSED, NOT_SENT, NoObject, secret};

/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(60);

/// No token is believed to live longer, whatever PayPal says: it says nine hours.
const LONGEST: u64 = 24 * 60 * 60;

/// How long a token is used if PayPal does not say for how long it is valid.
const UNREADABLE: Duration = Duration::from_secs(300);

/// The credentials of an account, and the token that they last got.
pub(super) struct Access {
    client_id: String,
    client_secret: SecretString,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: SecretString,
    renewed_from: Instant,
    ends: Instant,
}

impl Access {
    pub(super) fn new(client_id: &str, client_secret: SecretString) -> Self {
        Self {
            client_id: client_id.to_owned(),
            client_secret,
            token: Mutex::default(),
        }
    }

    /// The token. Calls that come while it is renewed wait for the new one. A call without a token is not executed.
    pub(super) async fn token(&self, http: &Http) -> Result<SecretString, NoObject> {
        let mut known = self.token.lock().await;
        if let Some(token) = &*known
            && Instant::now() < token.renewed_from
        {
            return Ok(token.text.clone());
        }
        match self.renewed(http).await {
            Ok(token) => {
                let text = token.text.clone();
                *known = Some(token);
                Ok(text)
            }
            Err(error) => match &*known {
                // Whoever is next tries again.
                Some(token) if Instant::now() < token.ends => Ok(token.text.clone()),
                _ => Err(error),
            },
        }
    }

    /// PayPal has refused this token. If it was renewed meanwhile, the new one stays.
    pub(super) async fn forget(&self, refused: &SecretString) {
        let mut known = self.token.lock().await;
        let is_refused = |token: &Token| token.text.expose_secret() == refused.expose_secret();
        if known.as_ref().is_some_and(is_refused) {
            *known = None;
        }
    }

    async fn renewed(&self, http: &Http) -> Result<Token, NoObject> {
        let asked = Instant::now();
        let answer = http.send(self.request(http)?, judge).await;
        let object = answer.map_err(|error| match error {
            // The call that needs the token was not sent.
            NoObject::Unknown(_) => NoObject::NotExecuted("no_access_token"),
            other => other,
        })?;
        read(&object, asked).ok_or(NoObject::NotExecuted("no_access_token"))
    }

    fn request(&self, http: &Http) -> Result<Request<Body>, NoObject> {
        let address = http.address("/v1/oauth2/token").parse::<Uri>();
        let pair = format!("{}:{}", self.client_id, self.client_secret.expose_secret());
        let basic = secret(&format!("Basic {}", STANDARD.encode(pair)))?;
        let mut request = Request::new(Body::from("grant_type=client_credentials"));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = address.map_err(|_| NOT_SENT)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, basic);
        headers.insert(header::CONTENT_TYPE, form);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        StatusCode::TOO_MANY_REQUESTS => Err(BUSY),
        StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
            Err(KEY_REFUSED)
        }
        _ if status.is_success() && object["access_token"].is_string() => Ok(object),
        _ => Err(NoObject::Unknown(format!(
            "{} without a token",
            status.as_u16()
        ))),
    }
}

/// In seconds. If it cannot be read, the token is good all the same: PayPal refuses it once it has ended.
fn life(expires_in: &Value) -> Duration {
    let text = || expires_in.as_str()?.parse().ok();
    let seconds = expires_in.as_u64().or_else(text);
    seconds.map_or(UNREADABLE, |seconds| {
        Duration::from_secs(seconds.min(LONGEST))
    })
}

fn read(object: &Value, asked: Instant) -> Option<Token> {
    let text = object["access_token"].as_str()?;
    let life = life(&object["expires_in"]);
    let ends = asked + life;
    Some(Token {
        text: SecretString::from(text),
        renewed_from: ends - MARGIN.min(life / 2),
        ends,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_whose_life_cannot_be_read_is_used_for_a_while() {
        for (expires_in, seconds) in [
            (json!(32_400), 32_400),
            (json!("3600"), 3600),
            (json!(u64::MAX), LONGEST),
            (json!(0), 0),
            (json!(-1), 300),
            (json!(1.5), 300),
            (json!(1e30), 300),
            (json!(null), 300),
        ] {
            let answer = json!({"access_token": "t", "expires_in": expires_in});
            let asked = Instant::now();
            let token = read(&answer, asked).map(|token| token.ends - asked);
            assert_eq!(token, Some(Duration::from_secs(seconds)), "{answer}");
        }
    }
}
