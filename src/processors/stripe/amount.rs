//! Amounts as Stripe counts them. Most currencies are counted in their minor units, as here.

use crate::domain::{Currency, Money};
use crate::processors::Unsupported;

/// No decimals here, but counted in hundredths by Stripe.
const IN_HUNDREDTHS: [&str; 2] = ["ISK", "UGX"];

/// Two decimals here, none at Stripe.
const WHOLE: [&str; 1] = ["MGA"];

/// Stripe's number for an amount, or why it cannot be expressed.
pub(super) fn counted(amount: Money) -> Result<i64, Unsupported> {
    let (minor, currency) = (amount.minor(), amount.currency());
    let code = currency.code();
    let in_steps = |minor: i64, of: i64, step| match minor % of {
        0 => Ok(minor),
        _ => Err(Unsupported::Precision {
            currency: code,
            step,
        }),
    };
    if IN_HUNDREDTHS.contains(&code) {
        return Ok(minor * 100);
    }
    if WHOLE.contains(&code) {
        return in_steps(minor, 100, "1").map(|minor| minor / 100);
    }
    match currency.exponent() {
        3 => in_steps(minor, 10, "0.010"),
        _ => Ok(minor),
    }
}

/// The amount that Stripe means by a number in a currency, in lower case; none if it cannot be expressed here.
pub(super) fn meant(number: i64, currency: &str) -> Option<Money> {
    let currency = Currency::parse(&currency.to_ascii_uppercase()).ok()?;
    Money::from_minor(minor(number, currency)?, currency).ok()
}

/// The inverse: our minor units for Stripe's number; none if it is not a whole number of them.
pub(super) fn minor(counted: i64, currency: Currency) -> Option<i64> {
    let code = currency.code();
    if IN_HUNDREDTHS.contains(&code) {
        return (counted % 100 == 0).then_some(counted / 100);
    }
    if WHOLE.contains(&code) {
        return counted.checked_mul(100);
    }
    Some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(minor: i64, currency: &str) -> Result<i64, &'static str> {
        let currency = Currency::parse(currency).unwrap();
        let counted = counted(Money::from_minor(minor, currency).unwrap());
        counted.map_err(|unsupported| match unsupported {
            Unsupported::Precision { step, .. } => step,
            other => panic!("{other} is not about the amount"),
        })
    }

    #[test]
    fn what_stripe_counts_is_the_amount_that_was_sent() {
        for (minor, currency) in [
            (9953, "CAD"),
            (500, "JPY"),
            (5, "ISK"),
            (500, "MGA"),
            (5120, "KWD"),
        ] {
            let number = of(minor, currency).unwrap();
            let meant = meant(number, &currency.to_ascii_lowercase()).unwrap();
            assert_eq!((meant.minor(), meant.currency().code()), (minor, currency));
        }
        assert_eq!(meant(550, "isk"), None);
        assert_eq!(meant(0, "cad"), None);
        assert_eq!(meant(i64::MAX, "mga"), None);
        assert_eq!(meant(1, "xyz"), None);
    }

    #[test]
    fn amounts_are_counted_as_stripe_counts_them() {
        assert_eq!(of(9953, "CAD"), Ok(9953));
        assert_eq!(of(500, "JPY"), Ok(500));
        assert_eq!(of(5, "ISK"), Ok(500));
        assert_eq!(of(5, "UGX"), Ok(500));
        assert_eq!(of(500, "MGA"), Ok(5));
        assert_eq!(of(550, "MGA"), Err("1"));
        assert_eq!(of(5120, "KWD"), Ok(5120));
        assert_eq!(of(5124, "KWD"), Err("0.010"));
    }

    #[test]
    fn what_stripe_has_counted_is_read_back() {
        for (amount, currency) in [
            (9953, "CAD"),
            (500, "JPY"),
            (5, "ISK"),
            (500, "MGA"),
            (5120, "KWD"),
        ] {
            let counted = of(amount, currency).unwrap();
            let currency = Currency::parse(currency).unwrap();
            assert_eq!(minor(counted, currency), Some(amount), "{currency:?}");
        }
        assert_eq!(minor(550, Currency::parse("UGX").unwrap()), None);
    }
}
