//! Cards as they are received: notations, brands, check digits.

use proptest::prelude::*;
use time::macros::{date, datetime};

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
fn the_brand_is_recognized_by_the_first_digits() {
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
fn funding_follows_from_the_number_range() {
    for (number, funding) in [
        ("4242424242424242", Funding::Credit),
        ("378282246310005", Funding::Credit),
        ("4000056655665556", Funding::Debit),
        ("4000 0566 5566 5556", Funding::Debit),
        ("5200828282828210", Funding::Debit),
        ("5105105105105100", Funding::Prepaid),
        ("4111111111111111", Funding::Unknown),
        ("9999999999999", Funding::Unknown),
        ("4000056755665555", Funding::Unknown),
        ("000000000000", Funding::Unknown),
    ] {
        let number = CardNumber::parse(number).unwrap();
        assert_eq!(number.funding(), funding, "{}", number.expose());
    }
    for funding in Funding::ALL {
        assert_eq!(Funding::parse(funding.as_str()), Some(funding));
    }
}

#[test]
fn a_card_that_an_earlier_release_stored_has_an_unknown_funding() {
    let stored = r#"{"brand": "visa", "last4": "4242", "expiration": "2030-01"}"#;
    let card: CardSummary = serde_json::from_str(stored).unwrap();
    assert_eq!(card.funding, Funding::Unknown);
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
        "4242\u{200b}4242\u{200b}4242\u{200b}4242",
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
fn debug_output_shows_nothing_of_a_card() {
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
fn an_expiry_month_is_read_in_all_common_notations() {
    for text in [
        "2030-01-05",
        "2030-01",
        "01/30",
        "1/30",
        "01/2030",
        "1/2030",
        "0130",
        "01-30",
        "1-30",
        "01-2030",
        "203001",
        "012030",
        "2030-1",
        "2030/01",
        "2030/1/5",
        "2030.01",
        "01.30",
        "1.2030",
        "01 30",
        "1 30",
        "01 2030",
        "2030 01",
        // Spaces around, also those that do not break a line; hyphens of a word processor.
        " 01/30 ",
        "01 / 30",
        "01 /30",
        "\u{a0}01\u{202f}/\u{2009}2030\t",
        "01\u{2011}30",
        "01\u{2013}2030",
        " 0130 ",
    ] {
        let month = Expiration::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(month.to_string(), "2030-01", "{text}");
    }
    for (text, month) in [
        ("1230", "2030-12"),
        ("12/2030", "2030-12"),
        ("202012", "2020-12"),
        ("122020", "2020-12"),
    ] {
        assert_eq!(Expiration::parse(text).unwrap().to_string(), month);
    }
}

#[test]
fn an_invalid_expiry_month_is_refused() {
    for text in [
        "",
        " ",
        "2030",
        "2030-13",
        "2030-00",
        "13/30",
        "0/30",
        "00/30",
        "1330",
        "203013",
        "132030",
        "2030-02-30",
        "2030-01-32",
        "30-01",
        "130",
        "1",
        "12",
        "01305",
        "20300",
        "2030010",
        "20300105",
        "01/3",
        "01/030",
        "01/20300",
        "001/30",
        "2030-01-",
        "2030-01-05-06",
        "05/01/2030",
        "01/05/30",
        "+030-01",
        "+1/30",
        "-1/30",
        "01//30",
        "/30",
        "01/",
        "/",
        "-",
        "--",
        "0 1/30",
        "01/2 030",
        "\u{ff12}\u{ff10}\u{ff13}\u{ff10}-01",
        "01/\u{ff13}",
        "Jan 30",
        "01/30\n",
        "01\u{200b}/30",
    ] {
        assert_eq!(
            Expiration::parse(text).unwrap_err(),
            InvalidCard::Expiration,
            "{text:?}"
        );
    }
}

#[test]
fn a_card_expires_when_its_month_has_ended_in_every_time_zone() {
    for (month, last, first) in [
        (
            "2030-01",
            datetime!(2030-02-01 11:59:59.999999 UTC),
            datetime!(2030-02-01 12:00 UTC),
        ),
        (
            "2030-12",
            datetime!(2031-01-01 11:59:59.999999 UTC),
            datetime!(2031-01-01 12:00 UTC),
        ),
        (
            "2028-02",
            datetime!(2028-03-01 11:59:59.999999 UTC),
            datetime!(2028-03-01 12:00 UTC),
        ),
    ] {
        let month = Expiration::parse(month).unwrap();
        assert!(!month.is_past(last) && month.is_past(first));
        // However the moment is written.
        let elsewhere = first.to_offset(time::UtcOffset::from_hms(13, 0, 0).unwrap());
        assert!(month.is_past(elsewhere));
    }
}

#[test]
fn an_expiry_more_than_20_years_ahead_is_refused() {
    let month = Expiration::parse("2030-01").unwrap();
    // In Kiribati it is January 14 hours earlier than in UTC.
    assert!(
        month
            .not_too_far_ahead(datetime!(2009-12-31 10:00 UTC))
            .is_ok()
    );
    assert_eq!(
        month.not_too_far_ahead(datetime!(2009-12-31 09:59:59 UTC)),
        Err(InvalidCard::TooFarAhead)
    );
}

#[test]
fn harmless_texts_contain_no_card_number() {
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
    fn the_parsers_never_panic(text in r"\PC*|[0-9/ -]{0,24}|[0-9é٣-]{0,24}", days in 0_i64..3_650_000) {
        let now = date!(0001 - 01 - 01).midnight().assume_utc() + time::Duration::days(days);
        let _ = CardNumber::parse(&text).map(|number| (number.brand(), number.last4().len(), number.passes_luhn()));
        let _ = CardCode::parse(&text);
        if let Ok(month) = Expiration::parse(&text) {
            prop_assert_eq!(Expiration::parse(&month.to_string()), Ok(month));
            let _ = month.not_too_far_ahead(now);
            let _ = month.is_past(now);
        }
        let _ = holds_card_number(&text);
    }

    #[test]
    fn a_number_is_read_with_and_without_separators(digits in "[0-9]{12,19}") {
        for separator in ["", " ", "-", "\u{a0}", "\u{202f}", "\u{2009}", "\u{2011}", "\u{2013}", "\t"] {
            let text = grouped(&digits, separator);
            let number = CardNumber::parse(&text).unwrap();
            prop_assert_eq!(number.expose(), &digits);
            prop_assert_eq!(number.last4(), &digits[digits.len() - 4..]);
        }
    }

    #[test]
    fn the_check_digit_detects_any_single_wrong_digit(
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
