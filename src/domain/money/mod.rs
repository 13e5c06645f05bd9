//! Amounts: whole minor units of an ISO 4217 currency. Never a float inside the service.

use std::fmt;

use serde_json::Number;

/// An ISO 4217 currency that has minor units (so not `XAU`, `XXX` and similar).
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

/// Why a text is not a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency: use an ISO 4217 code such as CAD, EUR or JPY")]
pub struct UnknownCurrency;

/// Why a number is not a valid amount.
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
    /// Largest amount, in minor units: 999,999,999.99 in a currency with cents. Up to there neighbouring floats are less
    /// than a ten-thousandth of a minor unit apart.
    pub const MAX_MINOR: i64 = 99_999_999_999;

    /// How far the sum of a hundred prices, each multiplied by a count, can be from the float nearest to the true sum, in
    /// steps from one float to the next: half a step for each addition, and at most the same again for the products
    /// together.
    pub const FLOAT_STEPS: f64 = 64.0;

    /// An amount that is already in minor units.
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, InvalidAmount> {
        match minor {
            ..=0 => Err(InvalidAmount::NotPositive),
            1..=Self::MAX_MINOR => Ok(Self { minor, currency }),
            _ => Err(InvalidAmount::TooLarge),
        }
    }

    /// Reads a JSON number. Callers add up totals in binary floats, so a number is rounded to the nearest minor unit if it
    /// is within 1e-6 of it (13999.930000000002 is 13999.93). From about a million (1,048,576.00 in a currency with cents)
    /// the errors of a sum in floats can be larger; there the limit is [`Self::FLOAT_STEPS`] steps of the float itself, at
    /// most a thousandth of a minor unit. Anything else with more decimals than the currency has is refused.
    pub fn parse_number(number: &Number, currency: Currency) -> Result<Self, InvalidAmount> {
        let float = match number.as_f64() {
            Some(float) if float >= 1e15 => return Err(InvalidAmount::TooLarge),
            Some(float) if float <= 0.0 => return Err(InvalidAmount::NotPositive),
            Some(float) => float,
            None => return Err(InvalidAmount::NotANumber),
        };
        // The shortest text that gives the same float is what the caller meant; the rest of the calculation is exact.
        let text = format!("{float}");
        let tolerance = Rest::tolerance_of(float, currency);
        Self::from_decimal(&Decimal::parse(&text)?, currency, tolerance)
    }

    /// Reads a decimal in a string, exactly: `"99.53"`. No sign, no exponent, no separators.
    pub fn parse_text(text: &str, currency: Currency) -> Result<Self, InvalidAmount> {
        Self::from_decimal(&Decimal::parse(text)?, currency, Rest::NONE)
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
        tolerance: Rest,
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
        let minor = if Rest::of(rest) <= tolerance {
            minor
        } else if Rest::up_to_one(rest) <= tolerance {
            minor + 1
        } else {
            return Err(InvalidAmount::TooPrecise {
                currency: currency.code(),
                exponent: currency.exponent(),
            });
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

    /// The amount in major units as a JSON number; thanks to [`Money::MAX_MINOR`] it is exact to the minor unit.
    pub fn major_number(self) -> f64 {
        self.major().parse().unwrap_or(f64::NAN)
    }
}

/// A fraction of one minor unit, in units of 1e-18, which is finer than any float of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rest(u64);

impl Rest {
    const DIGITS: usize = 18;
    const ONE: u64 = 10_u64.pow(18);
    const NONE: Self = Self(0);
    const MILLIONTH: Self = Self(Self::ONE / 1_000_000);

    /// The value of the decimals after the last minor unit; rounded up.
    fn of(decimals: &str) -> Self {
        let beyond = decimals
            .bytes()
            .skip(Self::DIGITS)
            .any(|digit| digit != b'0');
        Self(Self::leading(decimals) + u64::from(beyond))
    }

    /// How much these decimals are below one minor unit; rounded up.
    fn up_to_one(decimals: &str) -> Self {
        Self(Self::ONE - Self::leading(decimals))
    }

    fn leading(decimals: &str) -> u64 {
        let padded = decimals.bytes().chain(std::iter::repeat(b'0'));
        padded
            .take(Self::DIGITS)
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }

    /// How far a number that was computed in floats may be from a whole minor unit.
    fn tolerance_of(float: f64, currency: Currency) -> Self {
        let step = float.next_up() - float;
        let minor_units = step * Money::FLOAT_STEPS * 10_f64.powi(currency.exponent.cast_signed());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive, and `as` keeps it within the range"
        )]
        let noise = Self((minor_units * Self::ONE as f64) as u64);
        noise.clamp(Self::MILLIONTH, Self(Self::ONE / 500))
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
