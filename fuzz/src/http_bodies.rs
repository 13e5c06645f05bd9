//! Bodies of `POST /payments`, `/process` and `/card-tokens`.
//!
//! Whatever comes in: nothing panics, every fault names its field, no answer repeats what may be a card number, and
//! what is accepted keeps its bounds and is read the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payment_service::wire::fields::FieldError;
use payment_service::wire::request::{parse_card, parse_method, parse_payment};
use payment_service::wire::rules::{CardsAllowed, ClientRules, Rules};
use payment_service::domain::Currency;
use payment_service::domain::card::holds_card_number;
use payment_service::domain::money::Money;
use serde_json::Value;
use time::macros::datetime;

fuzz_target!(|data: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let client = ClientRules::default();
    let rules = Rules {
        default_currency: Currency::parse("CAD").expect("a currency"),
        now: datetime!(2027-01-15 12:00 UTC),
        cards: CardsAllowed::Yes,
        client: &client,
    };
    for cards in [CardsAllowed::Yes, CardsAllowed::No] {
        let rules = Rules { cards, ..rules };
        match parse_payment(&body, &rules) {
            Ok(request) => {
                let amount = request.amount;
                assert!((1..=Money::MAX_MINOR).contains(&amount.minor()));
                let read_again = Money::parse_text(&amount.major(), amount.currency());
                assert_eq!(read_again, Ok(amount));
                let again = parse_payment(&body, &rules).expect("the same");
                assert_eq!(request.canonical(), again.canonical());
            }
            Err(faults) => are_told(&faults),
        }
    }
    if let Err(faults) = parse_method(&body, &rules) {
        are_told(&faults);
    }
    match parse_card(&body, &rules) {
        Ok(card) => {
            assert!(!format!("{card:?}").contains(card.number.expose()));
            assert_eq!(card.summary().last4.len(), 4);
        }
        Err(faults) => are_told(&faults),
    }
});

fn are_told(faults: &[FieldError]) {
    assert!(!faults.is_empty());
    for fault in faults {
        assert!(!fault.message.is_empty());
        assert!(!holds_card_number(&fault.field), "{fault:?}");
        assert!(!holds_card_number(&fault.message), "{fault:?}");
    }
}
