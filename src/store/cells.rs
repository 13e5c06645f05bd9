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

/// The most bytes of one parameter, unless a single row is longer.
///
/// A TLS record holds 16 KiB, and a longer command leaves in several. The last one, a short one, is held back (sqlx
/// does not set TCP_NODELAY) until the server acknowledges those before it: 40 ms, measured with MySQL, for what takes
/// 4 ms otherwise. Running the same statement once more costs a tenth of a millisecond.
const LONGEST: usize = 16_000;

/// Rows as the parameters of one statement: usually a single one, none for no rows.
pub fn to_parameters<R: Serialize>(
    rows: impl IntoIterator<Item = R>,
) -> Result<Vec<String>, StoreError> {
    let mut parameters = Vec::new();
    let mut current = String::new();
    for row in rows {
        let row = to_json(&row)?;
        if !current.is_empty() && current.len() + row.len() > LONGEST {
            parameters.push(std::mem::take(&mut current) + "]");
        }
        current.push(if current.is_empty() { '[' } else { ',' });
        current.push_str(&row);
    }
    if !current.is_empty() {
        parameters.push(current + "]");
    }
    Ok(parameters)
}

/// JSON text of a value.
fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_between_rows_and_none_is_lost() {
        for (rows, length) in [
            (0, 1),
            (1, 1),
            (1, 100_000),
            (1000, 10),
            (5, 10_000),
            (9, 30_000),
        ] {
            let rows: Vec<(usize, String)> =
                (0..rows).map(|row| (row, "\"".repeat(length))).collect();
            let parameters = to_parameters(&rows).unwrap();
            let read = |json: &String| serde_json::from_str::<Vec<(usize, String)>>(json).unwrap();
            let parts: Vec<_> = parameters.iter().map(read).collect();
            for (part, json) in parts.iter().zip(&parameters) {
                assert!(part.len() == 1 || json.len() <= LONGEST + 2);
                assert!(!part.is_empty());
            }
            assert_eq!(parts.concat(), rows);
        }
    }
}
