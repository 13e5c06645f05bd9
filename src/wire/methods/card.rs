//! `card`: the three fields of a card, or a token of `POST /card-tokens`.

use super::{CardsAllowed, Method, Reading};
use crate::domain::PaymentMethod;
use crate::wire::card_fields::{self, CARD_FIELDS};
use crate::wire::did_you_mean;
use crate::wire::fields::{Faults, Object, shown};

/// Cards.
pub(super) struct Cards;

impl Method for Cards {
    fn name(&self) -> &'static str {
        "card"
    }

    fn fields(&self, cards: CardsAllowed) -> Option<&'static [&'static str]> {
        Some(match cards {
            CardsAllowed::Yes => &["cardNumber", "cardCode", "expirationDate", "card_token"],
            CardsAllowed::No => &["card_token"],
        })
    }

    fn read(
        &self,
        fields: &Object<'_>,
        reading: Reading,
        faults: &mut Faults,
    ) -> Option<PaymentMethod> {
        let token = fields.get("card_token").is_some();
        if reading.cards == CardsAllowed::Yes && !token {
            return card_fields::card(fields, reading.now, faults).map(PaymentMethod::Card);
        }
        // In a message, card data is reported already.
        if token && reading.cards == CardsAllowed::Yes {
            card_fields::refuse_both(fields, faults);
        }
        card_fields::token(fields, faults).map(PaymentMethod::Token)
    }
}

/// In a message: reports every field that is named like card data.
pub(in crate::wire) fn refuse_cards_in_clear(fields: &Object<'_>, faults: &mut Faults) {
    let is_card = |name: &str| {
        let mut names = ["card"].iter().chain(&CARD_FIELDS);
        names.any(|it| name == *it || did_you_mean::misspells(name, it))
    };
    for name in fields.entries().keys() {
        if is_card(name) {
            let message = "must not be sent in a message, which a broker writes to disk: make a token \
                           with POST /card-tokens and send it as card_token";
            faults.add(fields.path(&shown(name)), "card_in_clear", message);
        }
    }
}
