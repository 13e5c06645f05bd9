//! Cards as they come in: forms, brands, check digits, and the search for what must not be kept.

use proptest::prelude::*;
use time::macros::date;

use super::digits::luhn;
use super::*;

fn with_check_digit(digits: &str) -> String {
    (0..=9)
        .map(|check| format!("{digits}{check}"))
        .find(|number| luhn(number))
        .unwrap()
}

/// Groups of four, as on the card.
fn grouped(number: &str, separator: &str) -> String {
    let groups: Vec<&str> = (0..number.len())
        .step_by(4)
        .map(|start| &number[start..number.len().min(start + 4)])
        .collect();
    groups.join(separator)
}

#[test]
fn brands_follow_from_the_first_digits() {
    let brands = [
        (Brand::Visa, vec!["40", "41", "49"]),
        (Brand::Mastercard, vec!["51", "55", "2221", "2720", "2500"]),
        (Brand::Amex, vec!["34", "37"]),
        (Brand::Discover, vec!["6011", "644", "649", "65"]),
        (
            Brand::Unknown,
            vec![
                "50", "56", "2220", "2721", "35", "36", "6010", "6012", "643", "64321", "00", "99",
            ],
        ),
    ];
    for (brand, prefixes) in brands {
        for prefix in prefixes {
            let number = CardNumber::parse(&format!("{prefix:0<16}")).unwrap();
            assert_eq!(number.brand(), brand, "{prefix}…");
        }
    }
}

#[test]
fn impossible_numbers_and_codes_are_refused() {
    for text in [
        "",
        "42424242424",
        "42424242424242424242",
        "4242 4242 4242 424x",
        "４２４２４２４２４２４２４２４２",
        "-4242.42424242",
    ] {
        assert_eq!(
            CardNumber::parse(text).unwrap_err(),
            InvalidCard::Number,
            "{text}"
        );
    }
    for text in ["", "12", "12345", "12a", "１２３", "-12", " 123", "+12"] {
        assert_eq!(
            CardCode::parse(text).unwrap_err(),
            InvalidCard::Code,
            "{text}"
        );
    }
}

#[test]
fn nothing_of_a_card_is_shown() {
    let card = Card {
        number: CardNumber::parse("4242 4242-42424242").unwrap(),
        code: CardCode::parse("737").unwrap(),
        expiration: Expiration::parse("05/31").unwrap(),
    };
    let shown = format!("{card:?}");
    assert!(!shown.contains("42") && !shown.contains("737"), "{shown}");
    assert_eq!(card.summary().last4, "4242");
}

#[test]
fn an_expiry_month_comes_in_three_forms() {
    for text in ["2030-01-05", "2030-01", "01/30"] {
        assert_eq!(Expiration::parse(text).unwrap().to_string(), "2030-01");
    }
    for text in [
        "",
        "2030",
        "2030-13",
        "2030-00",
        "13/30",
        "2030-02-30",
        "2030-1",
        "30-01",
        "1/30",
        "01/2030",
        "2030-01-",
        "2030-01-05-06",
        "+030-01",
        "２０３０-01",
        "2030/01",
        "01/３",
        "/",
        "-",
        "--",
    ] {
        assert_eq!(
            Expiration::parse(text).unwrap_err(),
            InvalidCard::Expiration,
            "{text}"
        );
    }
}

#[test]
fn an_expiry_month_is_past_after_its_last_day_and_too_far_after_20_years() {
    let month = Expiration::parse("2030-01").unwrap();
    assert!(!month.is_past(date!(2030 - 01 - 31)) && month.is_past(date!(2030 - 02 - 01)));
    assert!(month.not_too_far_ahead(date!(2010 - 01 - 01)).is_ok());
    assert_eq!(
        month.not_too_far_ahead(date!(2009 - 12 - 31)),
        Err(InvalidCard::TooFarAhead)
    );
}

#[test]
fn harmless_texts_hold_no_card_number() {
    for text in [
        "",
        "order 1234567890123",
        "2026-11-22 18:51:44.123456",
        "+1 514 555 0199",
        "7f1d8c52-6a0b-4d6e-9f39-aa2d6c8f01be",
        "4242424242424241",
        "424242424242424242424242",
        "4242 4242 4242",
    ] {
        assert!(!holds_card_number(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in r"\PC*|[0-9/ -]{0,24}|[0-9é٣-]{0,24}", today in 1_i32..9999) {
        let _ = CardNumber::parse(&text).map(|number| (number.brand(), number.last4().len(), number.passes_luhn()));
        let _ = CardCode::parse(&text);
        if let Ok(month) = Expiration::parse(&text) {
            prop_assert_eq!(Expiration::parse(&month.to_string()), Ok(month));
            let _ = month.not_too_far_ahead(Date::from_ordinal_date(today, 1).unwrap());
        }
        let _ = holds_card_number(&text);
    }

    #[test]
    fn a_number_is_read_with_and_without_separators(digits in "[0-9]{12,19}") {
        for text in [digits.clone(), grouped(&digits, " "), grouped(&digits, "-")] {
            let number = CardNumber::parse(&text).unwrap();
            prop_assert_eq!(number.expose(), &digits);
            prop_assert_eq!(number.last4(), &digits[digits.len() - 4..]);
        }
    }

    #[test]
    fn a_check_digit_notices_any_single_wrong_digit(
        digits in "[0-9]{11,18}", place: prop::sample::Index, change in 1_u8..10,
    ) {
        let number = with_check_digit(&digits);
        prop_assert!(CardNumber::parse(&number).unwrap().passes_luhn());
        let mut wrong = number.into_bytes();
        let place = place.index(wrong.len());
        wrong[place] = (wrong[place] - b'0' + change) % 10 + b'0';
        let wrong = String::from_utf8(wrong).unwrap();
        prop_assert!(!CardNumber::parse(&wrong).unwrap().passes_luhn());
    }
}
