//! `token`: a payment method that a payment platform keeps, by the token that the platform gave out for it. Only the platform
//! can open it.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{CardsAllowed, Method, Reading};
use crate::domain::{InvalidMethod, OtherMethod, PROCESSOR, PaymentMethod, TOKEN};
use crate::wire::fields::{Faults, Object};

/// Tokens of platforms.
pub(super) struct Tokens;

/// Longest token, in bytes.
const LONGEST: usize = 255;

impl Method for Tokens {
    fn name(&self) -> &'static str {
        TOKEN
    }

    /// A token is worth nothing without the secret key of its platform's account, so a message may carry it.
    fn fields(&self, _: CardsAllowed) -> Option<&'static [&'static str]> {
        Some(&[PROCESSOR, "token"])
    }

    fn read(&self, fields: &Object<'_>, _: Reading, faults: &mut Faults) -> Option<PaymentMethod> {
        let processor = processor(fields, faults);
        let token = fields.text(
            "token",
            "the platform's token, such as pm_card_visa",
            faults,
        );
        let refusal = token.and_then(refusal);
        if let Some(message) = refusal {
            faults.add(fields.path("token"), "invalid_token", message);
        }
        let (processor, token) = (processor?, token?);
        if refusal.is_some() {
            return None;
        }
        let secret = Zeroizing::new(token.as_bytes().to_vec());
        of_platform(TOKEN, processor, secret, fields, faults)
    }
}

/// Reads the name of the platform.
pub(super) fn processor<'f>(fields: &Object<'f>, faults: &mut Faults) -> Option<&'f str> {
    let name = fields.text(PROCESSOR, "the name of a processor, such as stripe", faults)?;
    if is_name(name) {
        return Some(name);
    }
    let message =
        "must be the name of a processor: a lower-case letter, then up to 31 of a-z, 0-9, - and _";
    faults.add(fields.path(PROCESSOR), "invalid_processor", message);
    None
}

/// A payment method that shows the name of its platform.
pub(super) fn of_platform(
    method: &str,
    processor: &str,
    secret: Zeroizing<Vec<u8>>,
    fields: &Object<'_>,
    faults: &mut Faults,
) -> Option<PaymentMethod> {
    let shown = BTreeMap::from([(PROCESSOR.to_owned(), processor.to_owned())]);
    let method = OtherMethod::new(method, secret, shown);
    let refused = |invalid: InvalidMethod| {
        let field = fields.path(PROCESSOR);
        faults.add(field, "invalid_processor", invalid.to_string());
    };
    method.map(PaymentMethod::Other).map_err(refused).ok()
}

/// What is wrong with a token.
fn refusal(token: &str) -> Option<&'static str> {
    let is_graphic = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > LONGEST || !is_graphic {
        return Some("must be 1 to 255 visible ASCII characters without spaces");
    }
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some("must be a token of the platform, not the number of a card")
}

/// Whether a processor can have this name.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    begins && name.len() <= 32 && name.bytes().all(allowed)
}
