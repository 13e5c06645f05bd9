//! The month at whose end a card expires: how it is written, and when it has ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, Duration};

use super::InvalidCard;
use super::digits::{HYPHENS, SPACES};
use crate::domain::Timestamp;

/// The month at whose end a card expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expiration {
    year: i32,
    month: u8,
}

impl Expiration {
    /// Maximum number of years from now until a card expires.
    pub const MAX_YEARS_AHEAD: i32 = 20;

    /// How long after the end of a month, in UTC, the month still lasts somewhere: the westernmost time zone is UTC-12.
    pub const WEST: Duration = Duration::hours(12);

    /// How long before its start in UTC a month has started somewhere: the easternmost time zone is UTC+14.
    pub const EAST: Duration = Duration::hours(14);

    /// Reads a month in the forms that programs, people and browsers' autofill use:
    ///
    /// - year first: `2030-01`, `2030-1`, `2030-01-05` (the day must exist), `203001`
    /// - month first: `01/30`, `1/30`, `01/2030`, `0130`, `012030`
    ///
    /// The parts are separated by `/`, `-`, `.` or spaces; spaces are also allowed around them and around the whole.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        let text = text.trim_matches(SPACES);
        let marks = |c: char| matches!(c, '/' | '.') || HYPHENS.contains(&c);
        let parts: Vec<&str> = if text.contains(marks) {
            text.split(marks)
                .map(|part| part.trim_matches(SPACES))
                .collect()
        } else {
            text.split(SPACES).filter(|part| !part.is_empty()).collect()
        };
        let digits =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !parts.iter().all(digits) {
            return Err(InvalidCard::Expiration);
        }
        match parts[..] {
            [whole] => Self::without_separator(whole),
            [year, month] if year.len() == 4 => Self::of(year, month, "1"),
            [month, year] => Self::month_first(month, year),
            [year, month, day] if year.len() == 4 => Self::of(year, month, day),
            _ => Err(InvalidCard::Expiration),
        }
    }

    /// `MMYY`, `YYYYMM` or `MMYYYY`, all digits. Six digits have only one meaning, because no month is above 12 and every
    /// year begins with 20.
    fn without_separator(digits: &str) -> Result<Self, InvalidCard> {
        match digits.len() {
            4 => Self::month_first(&digits[..2], &digits[2..]),
            6 if digits.starts_with("20") => Self::of(&digits[..4], &digits[4..], "1"),
            6 if digits[2..].starts_with("20") => Self::month_first(&digits[..2], &digits[2..]),
            _ => Err(InvalidCard::Expiration),
        }
    }

    fn month_first(month: &str, year: &str) -> Result<Self, InvalidCard> {
        match year.len() {
            2 => Self::of(&format!("20{year}"), month, "1"),
            4 => Self::of(year, month, "1"),
            _ => Err(InvalidCard::Expiration),
        }
    }

    fn of(year: &str, month: &str, day: &str) -> Result<Self, InvalidCard> {
        let small = |digits: &str| {
            let number = digits.parse::<u8>().ok().filter(|_| digits.len() <= 2);
            number.ok_or(InvalidCard::Expiration)
        };
        let year: i32 = year.parse().map_err(|_| InvalidCard::Expiration)?;
        let (month, day) = (small(month)?, small(day)?);
        let named = time::Month::try_from(month).map_err(|_| InvalidCard::Expiration)?;
        Date::from_calendar_date(year, named, day).map_err(|_| InvalidCard::Expiration)?;
        Ok(Self { year, month })
    }

    /// Refuses a month more than [`Self::MAX_YEARS_AHEAD`] years after the current one, in any time zone.
    pub fn not_too_far_ahead(self, now: Timestamp) -> Result<Self, InvalidCard> {
        let mut latest = Self::containing(now.saturating_add(Self::EAST));
        latest.year += Self::MAX_YEARS_AHEAD;
        if self > latest {
            Err(InvalidCard::TooFarAhead)
        } else {
            Ok(self)
        }
    }

    /// A card is valid until its month has ended everywhere on earth: [`Self::WEST`] after its end in UTC.
    pub fn is_past(self, now: Timestamp) -> bool {
        self < Self::containing(now.saturating_sub(Self::WEST))
    }

    fn containing(moment: Timestamp) -> Self {
        let utc = moment.to_offset(time::UtcOffset::UTC);
        Self {
            year: utc.year(),
            month: utc.month().into(),
        }
    }
}

/// `YYYY-MM`
impl fmt::Display for Expiration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl TryFrom<String> for Expiration {
    type Error = InvalidCard;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Expiration> for String {
    fn from(expiration: Expiration) -> Self {
        expiration.to_string()
    }
}
