//! The canonical bytes of a parsed request, to check whether two requests with one idempotency key are the same.
//!
//! Contains the card in clear: the bytes go into a keyed hash and nowhere else, and are wiped when dropped.

use zeroize::Zeroizing;

use crate::domain::{CaptureMethod, PaymentMethod, PaymentRequest};

/// Change it with the form below; fingerprints of different versions are never equal.
const VERSION: u8 = 1;

impl PaymentRequest {
    /// Unambiguous: a length precedes every text, a tag every choice. The same request gives the same bytes however it was
    /// written (numbers or strings, order of fields, default or given currency).
    pub fn canonical(&self) -> Zeroizing<Vec<u8>> {
        let entries = self.metadata.entries();
        let texts: usize = entries
            .iter()
            .map(|(key, value)| key.len() + value.len() + 16)
            .sum();
        let secret = match &self.method {
            Some(PaymentMethod::Other(other)) => other.expose().len(),
            _ => 0,
        };
        // Room for everything from the start: a vector that grows leaves copies of its content in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(256 + texts + secret));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.order_id.0.to_be_bytes());
        bytes.extend_from_slice(&self.user_id.0.to_be_bytes());
        bytes.extend_from_slice(&self.amount.minor().to_be_bytes());
        text(&mut bytes, self.amount.currency().code());
        match &self.method {
            None => bytes.push(0),
            Some(PaymentMethod::Card(card)) => {
                bytes.push(1);
                text(&mut bytes, card.number.expose());
                text(&mut bytes, card.code.expose());
                text(&mut bytes, &card.expiration.to_string());
            }
            Some(PaymentMethod::Token(token)) => {
                bytes.push(2);
                text(&mut bytes, token);
            }
            Some(PaymentMethod::Other(other)) => {
                bytes.push(3);
                text(&mut bytes, &other.summary().name);
                bytes.extend_from_slice(&(secret as u64).to_be_bytes());
                bytes.extend_from_slice(other.expose());
            }
        }
        for (key, value) in entries {
            text(&mut bytes, key);
            text(&mut bytes, value);
        }
        // A single text after the pairs cannot be mistaken for a pair; without it the form is that of earlier releases.
        if let Some(url) = &self.return_url {
            text(&mut bytes, url.as_str());
        }
        // Nor can a single byte be mistaken for a text, which begins with eight bytes.
        if self.capture_method == CaptureMethod::Manual {
            bytes.push(1);
        }
        bytes
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use crate::domain::Currency;
    use crate::wire::request::parse_payment;
    use crate::wire::rules::{CardsAllowed, ClientRules, ReturnOrigins, Rules};

    fn canonical(body: Value) -> Vec<u8> {
        let client = ClientRules {
            return_origins: ReturnOrigins::Loopback,
            ..ClientRules::default()
        };
        let rules = Rules {
            default_currency: Currency::parse("CAD").expect("CAD"),
            now: datetime!(2026-11-01 12:00 UTC),
            cards: CardsAllowed::Yes,
            client: &client,
        };
        parse_payment(&body, &rules)
            .expect("a good request")
            .canonical()
            .to_vec()
    }

    #[test]
    fn the_same_request_written_differently_has_the_same_bytes() {
        let one = canonical(json!({
            "order_id": 1, "user_id": 2, "total_amount": 99.53,
            "card": {"cardNumber": 4242424242424242_u64, "cardCode": 12, "expirationDate": "2030-01-05"},
        }));
        let other = canonical(json!({
            "metadata": {}, "currency": "CAD", "total_amount": "99.530", "user_id": "2", "order_id": "1",
            "card": {"cardNumber": "4242 4242 4242 4242", "cardCode": "012", "expirationDate": "01/30"},
        }));
        assert_eq!(one, other);
    }

    #[test]
    fn the_same_method_in_its_other_form_has_the_same_bytes() {
        let order = |name: &str, value: Value| {
            let mut order = json!({"order_id": 1, "user_id": 2, "total_amount": 99.53});
            order[name] = value;
            canonical(order)
        };
        let card = json!({"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"});
        let mut nested = card.clone();
        nested["type"] = json!("card");
        assert_eq!(order("card", card), order("payment_method", nested));
        let nested = json!({"type": "card", "card_token": "tok_visa"});
        assert_eq!(
            order("card_token", json!("tok_visa")),
            order("payment_method", nested)
        );
    }

    #[test]
    fn every_difference_changes_the_bytes() {
        let body = |changed: Value| {
            let mut body = json!({
                "order_id": 1, "user_id": 2, "total_amount": 99.53, "metadata": {"a": "bc"},
                "card": {"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"},
            });
            for (name, value) in changed.as_object().expect("an object") {
                body[name] = value.clone();
            }
            body
        };
        let card = |number, code, month| json!({"card": {"cardNumber": number, "cardCode": code, "expirationDate": month}});
        let mut forms: Vec<Vec<u8>> = [
            json!({}),
            json!({"order_id": 2}),
            json!({"user_id": 1}),
            json!({"total_amount": 99.54}),
            json!({"currency": "USD"}),
            json!({"card": null}),
            json!({"card": null, "card_token": "tok_visa"}),
            json!({"card": null, "card_token": "tok_visa_2"}),
            card("4242424242424241", "123", "2030-01"),
            card("4242424242424242", "124", "2030-01"),
            card("4242424242424242", "123", "2030-02"),
            json!({"metadata": {}}),
            json!({"metadata": {"ab": "c"}}),
            json!({"metadata": {"a": "b", "c": ""}}),
            json!({"return_url": "http://localhost/"}),
            json!({"return_url": "http://localhost/a"}),
            json!({"metadata": {}, "return_url": "http://localhost/"}),
            json!({"capture_method": "manual"}),
        ]
        .map(|changed| canonical(body(changed)))
        .into();
        let number = forms.len();
        forms.sort();
        forms.dedup();
        assert_eq!(forms.len(), number);
    }
}
