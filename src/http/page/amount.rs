//! Formats an amount for the page's language.

use super::texts::Language;
use crate::domain::Money;

/// `CAD 13,999.93`, `13 999,93 CAD`: with the currency's code, since many countries have dollars, and as many decimals as
/// the currency has. Uses non-breaking spaces.
pub fn written(amount: Money, language: Language) -> String {
    let major = amount.major();
    let (whole, decimals) = major.split_once('.').unwrap_or((&major, ""));
    let code = amount.currency().code();
    match language {
        Language::English => {
            let whole = grouped(whole, ',');
            format!("{code}\u{a0}{whole}{}", after('.', decimals))
        }
        Language::French => {
            let whole = grouped(whole, '\u{202f}');
            format!("{whole}{}\u{a0}{code}", after(',', decimals))
        }
    }
}

/// Groups the digits by thousands.
fn grouped(digits: &str, separator: char) -> String {
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(separator);
        }
        grouped.push(digit);
    }
    grouped
}

fn after(point: char, decimals: &str) -> String {
    if decimals.is_empty() {
        String::new()
    } else {
        format!("{point}{decimals}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Currency;

    #[test]
    fn an_amount_is_formatted_for_its_currency_and_language() {
        let both = |minor, code| {
            let amount = Money::from_minor(minor, Currency::parse(code).unwrap()).unwrap();
            [Language::English, Language::French]
                .map(|language| written(amount, language).replace(['\u{a0}', '\u{202f}'], "_"))
        };
        assert_eq!(both(9953, "CAD"), ["CAD_99.53", "99,53_CAD"]);
        assert_eq!(both(1, "EUR"), ["EUR_0.01", "0,01_EUR"]);
        assert_eq!(both(100_000, "JPY"), ["JPY_100,000", "100_000_JPY"]);
        assert_eq!(both(1_234_567, "KWD"), ["KWD_1,234.567", "1_234,567_KWD"]);
        assert_eq!(
            both(99_999_999_999, "CAD"),
            ["CAD_999,999,999.99", "999_999_999,99_CAD"]
        );
    }
}
