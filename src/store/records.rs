//! Reading rows of either database: a record has the plain values of the columns, by name, and is then turned into a row
//! with the domain's types. A row that cannot be read identifies itself all the same.

use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, FromRow};
use time::PrimitiveDateTime;

use super::StoreError;
use super::columns::Columns;
use super::quarantine::{Key, SetAside};
use crate::domain::Timestamp;

/// A value that can be read from a row of either database.
pub trait Record:
    for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

/// A row that identifies itself even if its record cannot be read.
pub struct Tried<T> {
    pub(super) key: Key,
    /// Why it is set aside.
    pub(super) mark: Option<String>,
    /// The record, or the column that cannot be read.
    pub(super) record: Result<T, String>,
    /// Only set for a row that is set aside or has no record.
    pub(super) about: About,
}

/// The information about a payment that is left out.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Its client, if that can be read.
    pub(super) client: Option<String>,
    /// Its position in lists, if that can be read.
    pub(super) created_at: Option<PrimitiveDateTime>,
}

/// A table whose rows can be identified even if they cannot be read.
pub trait Table: Sized {
    /// The key of the row.
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error>;

    /// Why it is set aside.
    fn mark<R: Columns>(_row: &R) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }

    /// The information about a row without a record.
    fn about_row<R: Columns>(_row: &R) -> About {
        About::default()
    }

    /// The information about a record.
    fn about(&self) -> About {
        About::default()
    }
}

impl<'r, R: Columns, T: Table + FromRow<'r, R>> FromRow<'r, R> for Tried<T> {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let record = match T::from_row(row) {
            Ok(record) => Ok(record),
            // Only the name: the cause may contain stored values.
            Err(Error::ColumnDecode { index, .. }) => Err(index.trim_matches('"').to_owned()),
            Err(Error::Decode(_)) => Err("a column".to_owned()),
            // The schema does not fit: the row is not the cause.
            Err(error) => return Err(error),
        };
        let mark = T::mark(row)?;
        let about = match (&mark, &record) {
            (None, Ok(_)) => About::default(),
            _ => T::about_row(row),
        };
        Ok(Self {
            key: T::key(row)?,
            mark,
            record,
            about,
        })
    }
}

/// Turns records into rows, or returns the error of the first unreadable one. For rows that only make sense together.
pub fn all<T: TryInto<R, Error = StoreError>, R>(records: Vec<T>) -> Result<Vec<R>, StoreError> {
    records.into_iter().map(TryInto::try_into).collect()
}

/// Turns one record into a row, unless the row is set aside or cannot be read.
pub fn one<T: Table + TryInto<R, Error = StoreError>, R>(tried: Tried<T>) -> Result<R, SetAside> {
    let Tried {
        key,
        mark,
        record,
        about,
    } = tried;
    let marked = mark.is_some();
    let (reason, about) = match (mark, record) {
        (Some(reason), _) => (reason, about),
        (None, Err(column)) => (unreadable(&column), about),
        (None, Ok(record)) => {
            let about = record.about();
            match record.try_into() {
                Ok(row) => return Ok(row),
                Err(StoreError::Corrupt(reason)) => (reason, about),
                Err(error) => (error.to_string(), about),
            }
        }
    };
    Err(SetAside {
        client: about.client,
        created_at: about.created_at.map(utc),
        marked,
        ..SetAside::new(key, reason)
    })
}

/// Turns records into rows, one by one; those that are set aside or cannot be read are added to `left_out`.
pub fn each<T: Table + TryInto<R, Error = StoreError>, R>(
    records: Vec<Tried<T>>,
    left_out: &mut Vec<SetAside>,
) -> Vec<R> {
    let read = records.into_iter().map(one);
    read.filter_map(|row| row.map_err(|it| left_out.push(it)).ok())
        .collect()
}

pub fn unreadable(column: &str) -> String {
    format!("{column} cannot be read")
}

pub fn utc(moment: PrimitiveDateTime) -> Timestamp {
    moment.assume_utc()
}
