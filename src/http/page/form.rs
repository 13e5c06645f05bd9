//! The page's posted form: `application/x-www-form-urlencoded`.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::domain::{REDIRECT, WALLET};
use crate::http::body;
use crate::http::problem::Problem;
use crate::wire::card_fields::CARD_FIELDS;

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
/// The hidden field with the token.
const TOKEN: &str = "form";
/// The name of the buttons of other methods than cards.
const METHOD: &str = "method";

/// A posted form. It holds a card in clear, so it has no `Debug`.
pub struct Form {
    /// Empty if it was not sent.
    pub token: String,
    /// The button that was pressed.
    pub method: Pressed,
    /// The card's fields, as they would come in JSON.
    pub card: Value,
}

/// A button of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pressed {
    /// The card form's.
    Card,
    /// The wallet's.
    Wallet,
    /// That of a platform's page, with the platform's name.
    Redirect(String),
}

impl Pressed {
    /// The value of a platform's button.
    pub fn of_platform(name: &str) -> String {
        format!("{REDIRECT}:{name}")
    }

    fn parse(value: &str) -> Self {
        match value.split_once(':') {
            Some((REDIRECT, name)) => Self::Redirect(name.to_owned()),
            _ if value == WALLET => Self::Wallet,
            _ => Self::Card,
        }
    }
}

/// The longest text of a field that is shown again: longer than any number or date.
const LONGEST_SHOWN: usize = 64;

/// Whether the body is declared as a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    body::media_type(headers) == MEDIA_TYPE
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body::read(request, state).await?;
        Ok(Self::parse(&bytes))
    }
}

impl Form {
    /// The first value of each field; unknown fields are ignored. An empty field counts as missing.
    fn parse(bytes: &[u8]) -> Self {
        let mut token = String::new();
        let mut card = Map::new();
        let mut method = Pressed::Card;
        for (name, value) in form_urlencoded::parse(bytes) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if name == TOKEN && token.is_empty() {
                value.clone_into(&mut token);
            } else if name == METHOD {
                method = Pressed::parse(value);
            } else if CARD_FIELDS.contains(&&*name) && !card.contains_key(&*name) {
                card.insert(name.into_owned(), value.into());
            }
        }
        Self {
            token,
            method,
            card: Value::Object(card),
        }
    }

    /// The text typed into a field, to show it again when something is wrong. Never the security code.
    pub fn typed(&self, name: &str) -> String {
        let text = self.card[name].as_str().filter(|_| name != "cardCode");
        text.unwrap_or_default()
            .chars()
            .take(LONGEST_SHOWN)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_parsed_as_browsers_send_it() {
        let form = Form::parse(
            b"form=0.1.ab&cardNumber=4242+4242+4242+4242&cardCode=+123&expirationDate=01%2F30&x=1",
        );
        assert_eq!(form.token, "0.1.ab");
        let card = json!({"cardNumber": "4242 4242 4242 4242", "cardCode": "123", "expirationDate": "01/30"});
        assert_eq!(form.card, card);
    }

    #[test]
    fn each_button_says_which_one_it_is() {
        let pressed = |body: &[u8]| Form::parse(body).method;
        assert_eq!(pressed(b"method=wallet"), Pressed::Wallet);
        let button = Pressed::of_platform("stripe");
        let body = format!("method={button}");
        let stripe = Pressed::Redirect("stripe".to_owned());
        assert_eq!(pressed(body.as_bytes()), stripe);
        for other in [&b"method=cash"[..], b"method=wallet:x", b"cardCode=1"] {
            assert_eq!(pressed(other), Pressed::Card);
        }
    }

    #[test]
    fn typed_fields_are_kept_except_the_card_code() {
        let form = Form::parse(b"cardNumber=4242+x&cardCode=123&expirationDate=13%2F30");
        assert_eq!(form.typed("cardNumber"), "4242 x");
        assert_eq!(form.typed("expirationDate"), "13/30");
        assert_eq!(form.typed("cardCode"), "");
        let long = format!("cardNumber={}", "4".repeat(1000));
        assert_eq!(Form::parse(long.as_bytes()).typed("cardNumber").len(), 64);
        assert_eq!(Form::parse(b"").typed("cardNumber"), "");
    }

    #[test]
    fn missing_or_empty_fields_and_other_bodies_give_no_field() {
        for text in [
            "",
            "cardNumber=&cardCode=+",
            "{\"cardNumber\": 1}",
            "&&=&%",
            "%ff%fe=%ff",
        ] {
            let form = Form::parse(text.as_bytes());
            assert_eq!((form.token.as_str(), form.card), ("", json!({})), "{text}");
        }
        assert_eq!(
            Form::parse(b"cardCode=1&cardCode=2").card,
            json!({"cardCode": "1"})
        );
    }
}
