//! `wallet`: an electronic wallet. It has no fields: its shopper approves on the wallet's own page.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{CardsAllowed, Method, Reading};
use crate::domain::{OtherMethod, PaymentMethod, WALLET};
use crate::wire::fields::{Faults, Object};

/// Electronic wallets.
pub(super) struct Wallets;

impl Method for Wallets {
    fn name(&self) -> &'static str {
        WALLET
    }

    fn fields(&self, _: CardsAllowed) -> Option<&'static [&'static str]> {
        Some(&[])
    }

    fn read(&self, _: &Object<'_>, _: Reading, _: &mut Faults) -> Option<PaymentMethod> {
        // Nothing of it is secret, but every method has something that is sealed.
        let nothing = Zeroizing::new(WALLET.as_bytes().to_vec());
        let wallet = OtherMethod::new(WALLET, nothing, BTreeMap::new());
        wallet.ok().map(PaymentMethod::Other)
    }
}
