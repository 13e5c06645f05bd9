//! The payment methods that a request may name in `payment_method`: what each needs, and how it is read.
//!
//! A method is one file with an implementation of [`Method`], and its registration in [`Methods`].

mod card;
mod redirect;
mod token;
mod wallet;

use std::fmt;
use std::sync::Arc;

use super::did_you_mean;
use super::fields::{Faults, Object, UnknownFields};
use crate::domain::{PaymentMethod, Timestamp};

pub(super) use card::refuse_cards_in_clear;
pub use redirect::may_change_processor;
pub use token::is_name as is_processor_name;

/// The field with the payment method, and the one in it that names the method.
pub(super) const PAYMENT_METHOD: &str = "payment_method";
const TYPE: &str = "type";

/// Whether a request may carry a card in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardsAllowed {
    /// Over HTTP.
    Yes,
    /// In a message: a broker writes messages to disk.
    No,
}

/// The rules for reading a payment method.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The current time.
    pub now: Timestamp,
    /// Whether a card, or another secret, is allowed in clear.
    pub cards: CardsAllowed,
    /// What happens to fields that the method does not have.
    pub unknown_fields: UnknownFields,
}

/// A payment method.
pub trait Method: Send + Sync + 'static {
    /// Its `type`: `card`.
    fn name(&self) -> &'static str;

    /// Its fields besides `type`. None if the method cannot be used where secrets in clear are not allowed: in messages,
    /// which a broker writes to disk.
    fn fields(&self, cards: CardsAllowed) -> Option<&'static [&'static str]>;

    /// Reads and validates its fields, and reports every fault with the path of its field.
    fn read(
        &self,
        fields: &Object<'_>,
        reading: Reading,
        faults: &mut Faults,
    ) -> Option<PaymentMethod>;
}

/// The payment methods that this service knows. Clones share them.
#[derive(Clone)]
pub struct Methods(Arc<[Arc<dyn Method>]>);

impl Default for Methods {
    /// Cards, electronic wallets, tokens of platforms, and their pages.
    fn default() -> Self {
        Self(Arc::new([
            Arc::new(card::Cards),
            Arc::new(wallet::Wallets),
            Arc::new(token::Tokens),
            Arc::new(redirect::Redirects),
        ]))
    }
}

impl Methods {
    /// The same with one more method.
    #[must_use]
    pub fn with(&self, method: Arc<dyn Method>) -> Self {
        Self(self.0.iter().cloned().chain([method]).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|method| method.name())
    }

    /// Reads `payment_method`, which must be there. `others` are fields that say the same and must then be absent.
    pub(super) fn read(
        &self,
        fields: &Object<'_>,
        others: &[&str],
        reading: Reading,
        faults: &mut Faults,
    ) -> Option<PaymentMethod> {
        let given = others.iter().find(|name| fields.get(name).is_some());
        if let Some(other) = given {
            let message = format!("must not come together with {other}: send one of them");
            faults.add(fields.path(PAYMENT_METHOD), "conflicting_fields", message);
        }
        let value = fields.required(PAYMENT_METHOD, "a payment method", faults)?;
        let object = Object::of(value, fields.path(PAYMENT_METHOD), faults)?;
        if reading.cards == CardsAllowed::No {
            refuse_cards_in_clear(&object, faults);
        }
        let (method, needed) = self.chosen(&object, reading.cards, faults)?;
        let known = [&[TYPE], needed].concat();
        object.check_unknown(&known, &[], reading.unknown_fields, faults);
        method.read(&object, reading, faults)
    }

    /// The method that `type` names, and its fields.
    fn chosen(
        &self,
        object: &Object<'_>,
        cards: CardsAllowed,
        faults: &mut Faults,
    ) -> Option<(&dyn Method, &'static [&'static str])> {
        let name = object.text(TYPE, &self.listed(), faults)?;
        let field = object.path(TYPE);
        let Some(method) = self.named(name) else {
            let hint = self.hint(name);
            faults.add_sentence(field.clone(), "unknown_method", format!("{field} {hint}"));
            return None;
        };
        let needed = method.fields(cards);
        if needed.is_none() {
            let message = "must not be sent in a message, which a broker writes to disk: use REST";
            faults.add(field, "method_in_clear", message);
        }
        Some((method, needed?))
    }

    fn named(&self, name: &str) -> Option<&dyn Method> {
        let method = self.0.iter().find(|method| method.name() == name);
        method.map(AsRef::as_ref)
    }

    /// What to send instead of an unknown name.
    fn hint(&self, name: &str) -> String {
        match did_you_mean::closest(name, self.names()) {
            Some(meant) => format!("is not a known payment method: did you mean {meant}?"),
            None => format!("is not a known payment method: send {}.", self.listed()),
        }
    }

    fn listed(&self) -> String {
        let names: Vec<&str> = self.names().collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => names.concat(),
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl PartialEq for Methods {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for Methods {}
