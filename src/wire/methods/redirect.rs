//! `redirect`: the shopper chooses how to pay on the own page of a payment platform.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{CardsAllowed, Method, Reading, token};
use crate::domain::{OtherMethod, PROCESSOR, PaymentMethod, REDIRECT, TOKEN};
use crate::wire::fields::{Faults, Object};

/// What is sealed if a route chooses the processor, and if the client names it.
const ROUTED: &str = "routed";
const NAMED: &str = "named";

/// Pages of platforms.
pub(super) struct Redirects;

impl Method for Redirects {
    fn name(&self) -> &'static str {
        REDIRECT
    }

    fn fields(&self, _: CardsAllowed) -> Option<&'static [&'static str]> {
        Some(&[PROCESSOR])
    }

    fn read(&self, fields: &Object<'_>, _: Reading, faults: &mut Faults) -> Option<PaymentMethod> {
        // Nothing of it is secret, but every method has something that is sealed. This tells whether another processor may
        // stand in for the one that is shown.
        let sealed = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        if fields.get(PROCESSOR).is_none() {
            let routed = OtherMethod::new(REDIRECT, sealed(ROUTED), BTreeMap::new());
            return routed.ok().map(PaymentMethod::Other);
        }
        let processor = token::processor(fields, faults)?;
        token::of_platform(REDIRECT, processor, sealed(NAMED), fields, faults)
    }
}

/// Whether another processor may take this payment method over: not a platform's token, and not if the client has named the
/// processor.
pub fn may_change_processor(method: &str, secret: &[u8]) -> bool {
    match method {
        TOKEN => false,
        REDIRECT => secret == ROUTED.as_bytes(),
        _ => true,
    }
}
