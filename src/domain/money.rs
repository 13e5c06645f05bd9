//! Amounts: whole minor units of an ISO 4217 currency. Never a float inside the service.

use std::fmt;

use serde_json::Number;

/// An ISO 4217 currency that has minor units (so no `XAU`, `XXX` and the like).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: iso_currency::Currency,
    exponent: u32,
}

/// A positive amount in minor units (cents, for most currencies) with its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a text is no currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency: use an ISO 4217 code such as CAD, EUR or JPY")]
pub struct UnknownCurrency;

/// Why a number is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Not a decimal number in plain notation.
    #[error("must be a number such as 99.53, or a string that holds one")]
    NotANumber,
    /// Zero or less.
    #[error("must be greater than zero")]
    NotPositive,
    /// Above [`Money::MAX_MINOR`].
    #[error("is too large: the most is {} minor units", Money::MAX_MINOR)]
    TooLarge,
    /// More decimals than the currency has.
    #[error("has more than the {exponent} decimals of {currency}")]
    TooPrecise {
        /// ISO 4217 code.
        currency: &'static str,
        /// Decimals of that currency.
        exponent: u32,
    },
}

impl Currency {
    /// Reads an upper-case ISO 4217 code.
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        let code = iso_currency::Currency::from_code(code).ok_or(UnknownCurrency)?;
        let exponent = u32::from(code.exponent().ok_or(UnknownCurrency)?);
        Ok(Self { code, exponent })
    }

    /// Three letters, ISO 4217.
    pub fn code(self) -> &'static str {
        self.code.code()
    }

    /// Number of decimals: 2 for CAD, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        self.exponent
    }
}

impl Money {
    /// Largest amount, in minor units: 999,999,999.99 in a currency with cents. Floats are exact to a
    /// millionth of the unit up to there.
    pub const MAX_MINOR: i64 = 99_999_999_999;

    /// An amount that is already in minor units.
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, InvalidAmount> {
        match minor {
            ..=0 => Err(InvalidAmount::NotPositive),
            1..=Self::MAX_MINOR => Ok(Self { minor, currency }),
            _ => Err(InvalidAmount::TooLarge),
        }
    }

    /// Reads a JSON number. Callers add up totals in binary floats, so a number that lies within 1e-6 of a
    /// whole minor unit means that unit (13999.930000000002 is 13999.93); anything else with more decimals
    /// than the currency has is refused.
    pub fn parse_number(number: &Number, currency: Currency) -> Result<Self, InvalidAmount> {
        // The shortest text that gives the same float is what the caller meant; from here on it is exact.
        let text = match number.as_f64() {
            Some(float) if float.abs() >= 1e15 && float > 0.0 => {
                return Err(InvalidAmount::TooLarge);
            }
            Some(float) if float <= 0.0 => return Err(InvalidAmount::NotPositive),
            Some(float) => format!("{float}"),
            None => return Err(InvalidAmount::NotANumber),
        };
        Self::from_decimal(&Decimal::parse(&text)?, currency, Tolerance::FloatNoise)
    }

    /// Reads a decimal in a string, exactly: `"99.53"`. No sign, no exponent, no separators.
    pub fn parse_text(text: &str, currency: Currency) -> Result<Self, InvalidAmount> {
        Self::from_decimal(&Decimal::parse(text)?, currency, Tolerance::None)
    }

    /// Whole minor units.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    fn from_decimal(
        decimal: &Decimal,
        currency: Currency,
        tolerance: Tolerance,
    ) -> Result<Self, InvalidAmount> {
        let exponent = currency.exponent() as usize;
        if decimal.whole.len() > 13 {
            return Err(InvalidAmount::TooLarge);
        }
        let kept = format!(
            "{}{:0<exponent$.exponent$}",
            decimal.whole, decimal.fraction
        );
        let minor: i64 = kept.parse().map_err(|_| InvalidAmount::TooLarge)?;
        let rest = decimal.fraction.get(exponent..).unwrap_or("");
        let minor = match tolerance.round(rest, exponent) {
            Some(carry) => minor + carry,
            None => {
                return Err(InvalidAmount::TooPrecise {
                    currency: currency.code(),
                    exponent: currency.exponent(),
                });
            }
        };
        Self::from_minor(minor, currency)
    }
}

/// Plain decimal notation, always in major units: `99.53 CAD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.major(), self.currency.code())
    }
}

impl Money {
    /// The amount in major units as decimal text: `99.53`, `1200` for JPY.
    pub fn major(self) -> String {
        let exponent = self.currency.exponent();
        if exponent == 0 {
            return self.minor.to_string();
        }
        let unit = 10_i64.pow(exponent);
        format!(
            "{}.{:0width$}",
            self.minor / unit,
            self.minor % unit,
            width = exponent as usize
        )
    }

    /// The amount in major units as a JSON number; [`Money::MAX_MINOR`] keeps it exact to the minor unit.
    pub fn major_number(self) -> f64 {
        self.major().parse().unwrap_or(f64::NAN)
    }
}

enum Tolerance {
    None,
    FloatNoise,
}

impl Tolerance {
    /// What the decimals after the last minor unit add to it: nothing, one unit, or `None` when they count.
    fn round(&self, rest: &str, exponent: usize) -> Option<i64> {
        if rest.bytes().all(|digit| digit == b'0') {
            return Some(0);
        }
        // 1e-6 of a major unit: the decimals up to the sixth must all be 0 (just above) or all 9 (just below).
        let noise_free = 6_usize.saturating_sub(exponent);
        let leading = rest.get(..noise_free)?;
        match self {
            Self::None => None,
            Self::FloatNoise if leading.bytes().all(|digit| digit == b'0') => Some(0),
            Self::FloatNoise if leading.bytes().all(|digit| digit == b'9') => Some(1),
            Self::FloatNoise => None,
        }
    }
}

struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Result<Self, InvalidAmount> {
        if let Some(rest) = text.strip_prefix('-') {
            return Err(match Self::parse_unsigned(rest) {
                Ok(_) => InvalidAmount::NotPositive,
                Err(error) => error,
            });
        }
        Self::parse_unsigned(text)
    }

    fn parse_unsigned(text: &'a str) -> Result<Self, InvalidAmount> {
        let (whole, fraction) = text
            .split_once('.')
            .map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) {
            return Err(InvalidAmount::NotANumber);
        }
        let whole = whole.trim_start_matches('0');
        Ok(Self {
            whole: if whole.is_empty() { "0" } else { whole },
            fraction: fraction.unwrap_or(""),
        })
    }
}

#[cfg(test)]
mod tests;
