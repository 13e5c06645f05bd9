//! Rows on their way into a statement: all of them as one JSON array of arrays, bound as one parameter, so that a
//! statement's text never depends on the number of rows (each length would be prepared, and evicted, on its own).
//! Knows how a value travels in JSON; which values make a row stands in [`super::encode`].

use serde::Serialize;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcOffset};

use super::StoreError;
use crate::domain::Timestamp;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cell<'a> {
    /// SQL's null.
    Null,
    /// Any whole number; a truth is 0 or 1.
    Number(i64),
    /// A text that the row has already.
    Borrowed(&'a str),
    /// A text that was made for the statement.
    Owned(String),
}

impl Cell<'_> {
    /// Bytes travel as hexadecimal digits; the statement turns them back.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Owned(hex::encode(bytes))
    }

    /// Anything that is kept as JSON text.
    pub fn json(value: &impl Serialize) -> Result<Self, StoreError> {
        Ok(Self::Owned(to_json(value)?))
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Cell<'_> {
    fn from(truth: bool) -> Self {
        Self::Number(truth.into())
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text)
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Owned(time_text(moment))
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

const TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");

/// A moment as both databases read it: UTC, to the microsecond, always of one width.
pub fn time_text(moment: Timestamp) -> String {
    let utc = moment.to_offset(UtcOffset::UTC);
    // Cannot fail: every component of the format is there. An empty text would be refused by the database.
    PrimitiveDateTime::new(utc.date(), utc.time())
        .format(TIME)
        .unwrap_or_default()
}

/// JSON text of a value.
pub fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}
