//! Reading and writing amounts.

use proptest::prelude::*;

use super::*;

/// Every exponent that ISO 4217 has.
const CURRENCIES: [(&str, u32); 4] = [("JPY", 0), ("CAD", 2), ("KWD", 3), ("CLF", 4)];

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(CURRENCIES.map(|(code, _)| currency(code)).to_vec())
}

/// All of ISO 4217 that can be paid in.
fn every_currency() -> impl Strategy<Value = Currency> {
    let letters = || 'A'..='Z';
    let all: Vec<Currency> = letters()
        .flat_map(|first| letters().map(move |second| (first, second)))
        .flat_map(|(first, second)| letters().map(move |third| [first, second, third]))
        .filter_map(|code| Currency::parse(&String::from_iter(code)).ok())
        .collect();
    assert!(all.len() > 150);
    prop::sample::select(all)
}

fn number(float: f64) -> Number {
    Number::from_f64(float).unwrap()
}

fn cad(json: &str) -> Result<i64, InvalidAmount> {
    Money::parse_number(&serde_json::from_str(json).unwrap(), currency("CAD")).map(Money::minor)
}

fn cad_text(text: &str) -> Result<i64, InvalidAmount> {
    Money::parse_text(text, currency("CAD")).map(Money::minor)
}

fn too_precise() -> Result<i64, InvalidAmount> {
    Err(InvalidAmount::TooPrecise {
        currency: "CAD",
        exponent: 2,
    })
}

#[test]
fn currencies_know_their_decimals_and_unknown_currencies_are_refused() {
    for (code, exponent) in CURRENCIES {
        assert_eq!(currency(code).exponent(), exponent, "{code}");
    }
    for code in ["", "cad", "CA", "CADX", "XAU", "XXX", "€", "ZZZ"] {
        assert_eq!(Currency::parse(code), Err(UnknownCurrency), "{code}");
    }
}

#[test]
fn binary_float_noise_is_accepted() {
    assert_eq!(cad("13999.930000000002"), Ok(1_399_993));
    assert_eq!(cad("0.30000000000000004"), Ok(30));
    assert_eq!(cad("1.1500000000000001"), Ok(115));
    assert_eq!(cad("9.999999999999998"), Ok(1_000));
    assert_eq!(cad("434.99999999999994"), Ok(43_500));
    assert_eq!(cad("9.99999999"), Ok(1_000));
    assert_eq!(cad("1.00000001"), Ok(100));
    assert_eq!(cad("99.53"), Ok(9_953));
    assert_eq!(cad("5"), Ok(500));
    assert_eq!(cad("1e2"), Ok(10_000));
}

#[test]
fn a_third_decimal_is_refused_with_the_name_of_the_currency() {
    for json in [
        "99.535",
        "0.001",
        "9.999",
        "9.9999",
        "0.00999",
        "1.000001",
        "1.00499",
        "1.0000009",
        "9.9999991",
        // A hundredth beyond the millionth of a cent, both ways.
        "1.0000000101",
        "0.9999999899",
        "1.00000001000001",
        "0.01000002",
        "699999.99000002",
        "1.000000100000000000000000000001",
    ] {
        assert_eq!(cad(json), too_precise(), "{json}");
        assert_eq!(cad_text(json), too_precise(), "{json} as text");
    }
    // Strings are exact: what is noise in a number is intent in a text.
    assert_eq!(cad_text("13999.930000000002"), too_precise());
    assert_eq!(cad_text("99.5300"), Ok(9_953));
    assert_eq!(
        cad_text("99.535").unwrap_err().to_string(),
        "has more than the 2 decimals of CAD"
    );
    let yen = Money::parse_text("99.5", currency("JPY")).unwrap_err();
    assert_eq!(yen.to_string(), "has more than the 0 decimals of JPY");
}

#[test]
fn zero_and_negative_amounts_are_refused() {
    for json in [
        "0",
        "0.0",
        "-0.0",
        "-0",
        "-5",
        "-99.53",
        "-1e300",
        "-9223372036854775808",
        "1e-9",
        "1e-320",
    ] {
        assert_eq!(cad(json), Err(InvalidAmount::NotPositive), "{json}");
    }
    for text in ["0", "0.00", "-0", "-0.0", "-5", "-99.535"] {
        assert_eq!(cad_text(text), Err(InvalidAmount::NotPositive), "{text}");
    }
}

#[test]
fn the_largest_amount_is_accepted_and_a_larger_one_refused() {
    for json in [
        "1000000000",
        "1e15",
        "1e300",
        "18446744073709551615",
        "999999999.9999999",
    ] {
        assert_eq!(cad(json), Err(InvalidAmount::TooLarge), "{json}");
    }
    for text in ["1000000000.00", &"9".repeat(10_000), "18446744073709551616"] {
        assert_eq!(cad_text(text), Err(InvalidAmount::TooLarge), "{text}");
    }
    assert_eq!(cad("999999999.99"), Ok(Money::MAX_MINOR));
    assert_eq!(
        cad_text(&format!("{}999999999.99", "0".repeat(10_000))),
        Ok(Money::MAX_MINOR)
    );
    assert!(serde_json::from_str::<Number>("1e400").is_err());
}

#[test]
fn texts_that_are_not_numbers_are_refused() {
    for text in [
        "", " ", "NaN", "inf", "-inf", "1e5", "1E5", "+1", "1.", ".", ".5", " 1", "1 ", "1,000",
        "1_000", "0x10", "٣", "１", "-", "--1", "-é", "1.2.3", "1.-2", "$5", "null",
    ] {
        assert_eq!(cad_text(text), Err(InvalidAmount::NotANumber), "{text:?}");
    }
}

#[test]
fn many_signs_in_a_number_do_not_overflow_the_stack() {
    assert_eq!(
        cad_text(&"-".repeat(1_000_000)),
        Err(InvalidAmount::NotANumber)
    );
}

/// Where floats are so far apart that sums of them miss by more than a millionth of a cent, their own steps count.
#[test]
fn for_the_largest_amounts_the_tolerance_is_64_float_steps() {
    for whole in [2_000_000.00, 99_999_999.99, 999_999_999.99] {
        let step = f64::next_up(whole) - whole;
        let minor = cad(&format!("{whole}")).unwrap();
        for steps in [-60.0, -1.0, 1.0, 60.0] {
            let float: f64 = whole + steps * step;
            assert_eq!(
                cad(&format!("{float}")),
                Ok(minor),
                "{whole} and {steps} steps"
            );
        }
        for steps in [-70.0, 70.0] {
            let float: f64 = whole + steps * step;
            assert_eq!(
                cad(&format!("{float}")),
                too_precise(),
                "{whole} and {steps} steps"
            );
        }
    }
    assert_eq!(cad("999999999.98001"), too_precise());
    assert_eq!(cad("999999999.99499"), too_precise());
    // Below, it is the millionth: 64 steps would be a hundredth of it here.
    assert_eq!(cad("5000.00000001"), Ok(500_000));
    assert_eq!(cad("5000.00000002"), too_precise());
    // Whole numbers are exact, so a currency without decimals has noise in fractions only.
    let yen = |json: &str| {
        Money::parse_number(&serde_json::from_str(json).unwrap(), currency("JPY")).map(Money::minor)
    };
    assert_eq!(yen("99999999999"), Ok(99_999_999_999));
    assert_eq!(yen("1200.000001"), Ok(1200));
    assert!(yen("1200.000002").is_err());
}

#[test]
fn numbers_in_every_notation_have_the_same_value() {
    for (json, minor) in [
        ("1e2", 10_000),
        ("1E+2", 10_000),
        ("9953e-2", 9_953),
        ("0.9953e2", 9_953),
        ("99.530000000000000000000000000000", 9_953),
        (
            "99.53000000000000000000000000000000000000000000000001",
            9_953,
        ),
        ("0.010000000000000000208166817117", 1),
    ] {
        assert_eq!(cad(json), Ok(minor), "{json}");
    }
    for json in [
        "0",
        "-0",
        "-0.0",
        "0e10",
        "1e-400",
        "-1",
        "-1e300",
        "0.0000000001",
    ] {
        assert_eq!(cad(json), Err(InvalidAmount::NotPositive), "{json}");
    }
    for json in [
        "1e300",
        "1e15",
        "1000000000",
        "123456789012345678901234567890",
        "999999999.995",
    ] {
        let refused = cad(json);
        let expected = [Err(InvalidAmount::TooLarge), too_precise()];
        assert!(expected.contains(&refused), "{json}: {refused:?}");
    }
    // In a text every digit counts.
    assert_eq!(cad_text("1.000000000000000000000000000000"), Ok(100));
    assert_eq!(cad_text("1.000000000000000000000000000001"), too_precise());
    assert_eq!(cad_text("0.999999999999999999999999999999"), too_precise());
    for text in [
        "1e2", "-0.0", "1E400", "+1", "1_000", " 1", "1.", ".5", "0x10", "１",
    ] {
        assert!(cad_text(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn amounts_round_trip_as_text_and_as_number(minor in 1..=Money::MAX_MINOR, currency in any_currency()) {
        let money = Money::from_minor(minor, currency).unwrap();
        prop_assert_eq!(Money::parse_text(&money.major(), currency), Ok(money));
        prop_assert_eq!(Money::parse_number(&number(money.major_number()), currency), Ok(money));
        let json = serde_json::to_string(&money.major_number()).unwrap();
        prop_assert_eq!(Money::parse_number(&serde_json::from_str(&json).unwrap(), currency), Ok(money));
        let decimals = money.major().split_once('.').map_or(0, |(_, decimals)| decimals.len());
        prop_assert_eq!(decimals, currency.exponent() as usize);
    }

    #[test]
    fn totals_summed_with_floats_have_their_exact_value(
        prices in prop::collection::vec((1_i64..50_000_000, 1_i64..20), 1..=100), currency in every_currency(),
    ) {
        let unit = 10_f64.powi(currency.exponent().cast_signed());
        let total: f64 = prices.iter().map(|(price, count)| *price as f64 / unit * *count as f64).sum();
        let minor: i64 = prices.iter().map(|(price, count)| price * count).sum();
        prop_assert_eq!(Money::parse_number(&number(total), currency).map(Money::minor), Ok(minor));
    }

    #[test]
    fn an_extra_decimal_is_refused(minor in 0..Money::MAX_MINOR / 10, digit in 1..10, currency in any_currency()) {
        let unit = 10_i64.pow(currency.exponent());
        let width = currency.exponent() as usize;
        let fraction = if width == 0 { String::new() } else { format!("{:0width$}", minor % unit) };
        let text = format!("{}.{fraction}{digit}", minor / unit);
        let refusal = Err(InvalidAmount::TooPrecise { currency: currency.code(), exponent: currency.exponent() });
        prop_assert_eq!(Money::parse_text(&text, currency), refusal.clone());
        prop_assert_eq!(Money::parse_number(&number(text.parse().unwrap()), currency), refusal);
    }

    #[test]
    fn parsing_never_panics(text in r"\PC*|-?[0-9.é٣-]{0,30}", currency in any_currency()) {
        let _ = Money::parse_text(&text, currency);
    }

    #[test]
    fn totals_summed_in_other_ways_have_their_exact_value(
        prices in prop::collection::vec((1_i64..50_000_000, 1_i64..20), 1..=100), currency in every_currency(),
    ) {
        let unit = 10_f64.powi(currency.exponent().cast_signed());
        let minor: i64 = prices.iter().map(|(price, count)| price * count).sum();
        let mut each = 0.0;
        for (price, count) in &prices {
            each += *count as f64 * (*price as f64 / unit);
        }
        let backwards: f64 = prices.iter().rev().map(|(price, count)| *price as f64 * *count as f64 / unit).sum();
        // Taken off again from a larger sum, as for a rebate.
        let less = (each + 1_000.0) - 1_000.0;
        for total in [each, backwards, less] {
            prop_assert_eq!(Money::parse_number(&number(total), currency).map(Money::minor), Ok(minor));
        }
    }

    #[test]
    fn only_numbers_next_to_a_whole_minor_unit_are_accepted(float in prop_oneof![prop::num::f64::NORMAL, 0.0..1e10], currency in every_currency()) {
        if let Ok(money) = Money::parse_number(&number(float), currency) {
            let unit = 10_f64.powi(currency.exponent().cast_signed());
            let off = (money.major_number() - float).abs();
            let step = float.next_up() - float;
            prop_assert!(off * unit <= 1.001e-6 || off <= 66.0 * step, "{} is {} off", float, off);
            prop_assert!(money.minor() > 0 && money.minor() <= Money::MAX_MINOR);
        }
    }

    /// Both sides of the millionth, for amounts whose floats are fine enough to tell.
    #[test]
    fn the_tolerance_is_a_millionth_of_a_minor_unit(minor in 1_i64..1_000_000, nanos in 1_i64..2_000, below in any::<bool>(), currency in every_currency()) {
        let width = currency.exponent() as usize + 9;
        let shifted = minor * 1_000_000_000 + if below { -nanos } else { nanos };
        let digits = format!("{shifted:0>length$}", length = width + 1);
        let (whole, fraction) = digits.split_at(digits.len() - width);
        let text = format!("{whole}.{fraction}");
        let read = Money::parse_number(&serde_json::from_str(&text).unwrap(), currency);
        if nanos <= 1_000 {
            prop_assert_eq!(read.map(Money::minor), Ok(minor), "{}", text);
        } else {
            prop_assert!(read.is_err(), "{}", text);
        }
        prop_assert!(Money::parse_text(&text, currency).is_err(), "{}", text);
    }
}
