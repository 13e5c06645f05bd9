//! `redirect`: the shopper chooses how to pay on the own page of a payment platform.

use zeroize::Zeroizing;

use super::{CardsAllowed, Method, Reading, token};
use crate::domain::{PROCESSOR, PaymentMethod, REDIRECT};
use crate::wire::fields::{Faults, Object};

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
        let processor = token::processor(fields, faults)?;
        // Nothing of it is secret, but every method has something that is sealed.
        let nothing = Zeroizing::new(REDIRECT.as_bytes().to_vec());
        token::of_platform(REDIRECT, processor, nothing, fields, faults)
    }
}
