//! A value for a statement, bound directly or as part of a JSON text. [`super::tables`] builds rows of values.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use sqlx::error::BoxDynError;
use sqlx::{Arguments, Encode, Type};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcOffset};

use super::StoreError;
use crate::domain::Timestamp;

/// One value of a row, or a parameter in addition to rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum SqlValue<'a> {
    /// SQL's null.
    Null,
    /// Any whole number; a boolean is 0 or 1.
    Number(i64),
    /// A point in time; within JSON, and if the database has no type for it, a text.
    #[serde(serialize_with = "as_text")]
    Moment(Timestamp),
    /// A text, or JSON as text.
    Text(Cow<'a, str>),
    /// Bytes; within JSON they are hexadecimal digits, which the statement converts back.
    #[serde(serialize_with = "hex::serde::serialize")]
    Bytes(Cow<'a, [u8]>),
}

/// The values of a row, in the order of its statement.
pub type Row<'a> = Vec<SqlValue<'a>>;

impl<'a> SqlValue<'a> {
    /// Borrowed bytes.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }

    /// Any value that is stored as JSON text.
    pub fn json(value: &impl Serialize) -> Result<Self, StoreError> {
        Ok(to_json(value)?.into())
    }

    /// Approximate size in bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Number(_) => size_of::<i64>(),
            Self::Moment(_) => 12,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl From<i64> for SqlValue<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for SqlValue<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for SqlValue<'_> {
    fn from(truth: bool) -> Self {
        Self::Number(truth.into())
    }
}

impl<'a> From<&'a str> for SqlValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for SqlValue<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Timestamp> for SqlValue<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Moment(moment)
    }
}

impl<'a, T: Into<SqlValue<'a>>> From<Option<T>> for SqlValue<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

const TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");

/// A point in time in the format of both databases: UTC, to the microsecond, always with the same width.
pub fn time_text(moment: Timestamp) -> String {
    let utc = moment.to_offset(UtcOffset::UTC);
    // Cannot fail: every component of the format exists. The database would refuse an empty text.
    PrimitiveDateTime::new(utc.date(), utc.time())
        .format(TIME)
        .unwrap_or_default()
}

fn as_text<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_text(*moment))
}

/// JSON text of a value.
pub fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Binds parameters for either driver; each driver binds points in time differently.
pub fn arguments<A: Arguments>(
    parameters: &[SqlValue<'_>],
    moment: fn(&mut A, Timestamp) -> Result<(), BoxDynError>,
) -> Result<A, sqlx::Error>
where
    for<'q> &'q str: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> &'q [u8]: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    let bytes = parameters.iter().map(SqlValue::len).sum::<usize>();
    // In addition, a text is preceded by its length.
    arguments.reserve(parameters.len(), bytes + 3 * parameters.len());
    for parameter in parameters {
        match parameter {
            SqlValue::Null => arguments.add(None::<i64>),
            SqlValue::Number(number) => arguments.add(Some(*number)),
            SqlValue::Moment(at) => moment(&mut arguments, *at),
            SqlValue::Text(text) => arguments.add(text.as_ref()),
            SqlValue::Bytes(bytes) => arguments.add(bytes.as_ref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
