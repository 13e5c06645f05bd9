//! The parsers of cards and amounts.
//!
//! Whatever comes in: nothing panics, what is read is within its bounds and reads the same when it is written again, a
//! number and its text mean the same amount, and an acceptable card number is recognized where none may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payment_service::domain::Currency;
use payment_service::domain::card::{CardCode, CardNumber, Expiration, holds_card_number};
use payment_service::domain::money::{InvalidAmount, Money};
use time::macros::datetime;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    card(text);
    // The first three letters may name a currency.
    let (code, amount) = text.split_at_checked(3).unwrap_or(("", text));
    for currency in [code, "CAD", "JPY", "KWD"] {
        if let Ok(currency) = Currency::parse(currency) {
            amount_in(amount, currency);
        }
    }
});

fn card(text: &str) {
    let held = holds_card_number(text);
    if let Ok(number) = CardNumber::parse(text) {
        let digits = number.expose();
        assert!((12..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
        assert!(digits.ends_with(number.last4()));
        let _ = number.brand();
        assert!(!format!("{number:?}").contains(digits));
        if number.passes_luhn() && digits.len() >= 13 {
            assert!(held, "{text:?} is taken, and not recognized");
        }
    }
    if let Ok(code) = CardCode::parse(text) {
        assert!((3..=4).contains(&code.expose().len()));
    }
    if let Ok(month) = Expiration::parse(text) {
        assert_eq!(Expiration::parse(&month.to_string()), Ok(month));
        let now = datetime!(2027-01-15 12:00 UTC);
        assert!(month.not_too_far_ahead(now).is_ok() || !month.is_past(now));
    }
}

fn amount_in(text: &str, currency: Currency) {
    let exact = Money::parse_text(text, currency);
    if let Ok(money) = exact {
        assert!((1..=Money::MAX_MINOR).contains(&money.minor()));
        assert_eq!(Money::parse_text(&money.major(), currency), Ok(money));
        assert_eq!(Money::from_minor(money.minor(), currency), Ok(money));
    }
    let Ok(number) = serde_json::from_str::<serde_json::Number>(text) else {
        return;
    };
    let rounded = Money::parse_number(&number, currency);
    if let Ok(money) = rounded {
        assert!((1..=Money::MAX_MINOR).contains(&money.minor()));
        let apart = money.major_number() - number.as_f64().unwrap_or(f64::NAN);
        assert!(apart.abs() <= 1.1e-6, "{text} was read as {money}");
        let shown = serde_json::Number::from_f64(money.major_number()).expect("a number");
        assert_eq!(Money::parse_number(&shown, currency), Ok(money));
    }
    match (exact, rounded) {
        (Ok(exact), rounded) => assert_eq!(rounded, Ok(exact)),
        // Beyond a float's precision it may be refused for another reason, but it is refused.
        (Err(InvalidAmount::TooLarge), rounded) => assert!(rounded.is_err(), "{text}"),
        _ => {}
    }
}
