//! The page's form as it is posted: `application/x-www-form-urlencoded`.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::accept::card_fields::CARD_FIELDS;
use crate::http::body;
use crate::http::problem::Problem;

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
/// The hidden field with the token.
const TOKEN: &str = "form";

/// A posted form. It holds a card in clear, so it has no `Debug`.
pub struct Form {
    /// Empty if there is none.
    pub token: String,
    /// The card's fields, as they would come in JSON.
    pub card: Value,
}

/// Whether a body is said to be a form.
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
    /// The first value of each field; what is no field of ours is left out. A field that was left empty is missing.
    fn parse(bytes: &[u8]) -> Self {
        let mut token = String::new();
        let mut card = Map::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if name == TOKEN && token.is_empty() {
                value.clone_into(&mut token);
            } else if CARD_FIELDS.contains(&&*name) && !card.contains_key(&*name) {
                let value = match &*name {
                    "expirationDate" => month(value),
                    _ => value.to_owned(),
                };
                card.insert(name.into_owned(), value.into());
            }
        }
        Self {
            token,
            card: Value::Object(card),
        }
    }
}

/// `01 / 30` and `01/2030`, as people and browsers write a month, in a form that `expirationDate` takes.
fn month(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    match text.split_once('/') {
        Some((month, year)) if year.len() == 4 => format!("{year}-{month}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = Form::parse(
            b"form=0.1.ab&cardNumber=4242+4242+4242+4242&cardCode=+123&expirationDate=01%2F30&x=1",
        );
        assert_eq!(form.token, "0.1.ab");
        let card = json!({"cardNumber": "4242 4242 4242 4242", "cardCode": "123", "expirationDate": "01/30"});
        assert_eq!(form.card, card);
    }

    #[test]
    fn a_month_is_taken_as_people_and_browsers_write_it() {
        for (written, taken) in [
            ("01/30", "01/30"),
            ("01 / 30", "01/30"),
            ("01/2030", "2030-01"),
            ("01 / 2030", "2030-01"),
            ("2030-01-05", "2030-01-05"),
            ("x", "x"),
        ] {
            assert_eq!(month(written), taken);
        }
    }

    #[test]
    fn what_is_missing_empty_or_no_form_at_all_gives_no_field() {
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
