//! Amounts as PayPal writes them: decimal text.

use serde_json::{Value, json};

use crate::domain::{Currency, Money};
use crate::processors::Unsupported;

/// The currencies that PayPal takes. None of them has three decimals.
const TAKEN: [&str; 24] = [
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY",
    "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD",
];

/// Two decimals here, none at PayPal.
const WHOLE: [&str; 2] = ["HUF", "TWD"];

/// PayPal's text for an amount, or why it cannot be expressed.
pub(super) fn written(amount: Money) -> Result<String, Unsupported> {
    let currency = amount.currency().code();
    if !TAKEN.contains(&currency) {
        return Err(Unsupported::Currency { currency });
    }
    let major = amount.major();
    if !WHOLE.contains(&currency) {
        return Ok(major);
    }
    match major.strip_suffix(".00") {
        Some(whole) => Ok(whole.to_owned()),
        None => Err(Unsupported::Precision {
            currency,
            step: "1",
        }),
    }
}

/// PayPal's object for an amount.
pub(super) fn object(amount: Money) -> Result<Value, Unsupported> {
    let value = written(amount)?;
    Ok(json!({"currency_code": amount.currency().code(), "value": value}))
}

/// The amount in PayPal's object; none if it is none.
pub(super) fn read(object: &Value) -> Option<Money> {
    let currency = Currency::parse(object["currency_code"].as_str()?).ok()?;
    Money::parse_text(object["value"].as_str()?, currency).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(minor: i64, currency: &str) -> Result<String, String> {
        let currency = Currency::parse(currency).unwrap();
        let amount = Money::from_minor(minor, currency).unwrap();
        written(amount).map_err(|unsupported| unsupported.to_string())
    }

    #[test]
    fn amounts_are_written_as_paypal_writes_them() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(of(9953, "CAD"), ok("99.53"));
        assert_eq!(of(5, "EUR"), ok("0.05"));
        assert_eq!(of(500, "JPY"), ok("500"));
        assert_eq!(of(50_000, "HUF"), ok("500"));
        assert_eq!(of(50_000, "TWD"), ok("500"));
        for (minor, currency) in [(50_050, "HUF"), (50_001, "TWD")] {
            let refused = of(minor, currency).unwrap_err();
            assert!(refused.contains("steps of 1"), "{refused}");
        }
        for currency in ["KWD", "BHD", "ISK", "XOF", "INR"] {
            let refused = of(1000, currency).unwrap_err();
            assert!(refused.contains(currency), "{refused}");
        }
    }

    #[test]
    fn what_was_written_is_read_with_and_without_decimals() {
        for (minor, code) in [(9953, "CAD"), (500, "JPY"), (50_000, "HUF")] {
            let amount = Money::from_minor(minor, Currency::parse(code).unwrap()).unwrap();
            assert_eq!(read(&object(amount).unwrap()), Some(amount));
        }
        let decimals = json!({"currency_code": "HUF", "value": "500.00"});
        assert_eq!(read(&decimals).map(Money::minor), Some(50_000));
        for odd in [
            json!(null),
            json!({"value": "1.00"}),
            json!({"currency_code": "CAD", "value": 1}),
            json!({"currency_code": "CAD", "value": "1.001"}),
        ] {
            assert_eq!(read(&odd), None);
        }
    }
}
