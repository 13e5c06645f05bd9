//! Reads values from a row of either database by column name. Written manually, because sqlx's derive builds both
//! database drivers a second time for its macro.

use sqlx::{ColumnIndex, Decode, Error, Row, Type};
use time::PrimitiveDateTime;
use uuid::Uuid;

/// A row with values of the few types that the tables use.
pub trait Columns: Row {
    /// A whole number.
    fn number(&self, column: &str) -> Result<i64, Error>;
    /// A whole number or null.
    fn number_or_null(&self, column: &str) -> Result<Option<i64>, Error>;
    /// A boolean.
    fn truth(&self, column: &str) -> Result<bool, Error>;
    /// A text.
    fn text(&self, column: &str) -> Result<String, Error>;
    /// A text or null.
    fn text_or_null(&self, column: &str) -> Result<Option<String>, Error>;
    /// Bytes.
    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error>;
    /// Bytes or null.
    fn bytes_or_null(&self, column: &str) -> Result<Option<Vec<u8>>, Error>;
    /// A point in time, UTC.
    fn moment(&self, column: &str) -> Result<PrimitiveDateTime, Error>;
    /// A point in time or null.
    fn moment_or_null(&self, column: &str) -> Result<Option<PrimitiveDateTime>, Error>;
    /// A UUID.
    fn uuid(&self, column: &str) -> Result<Uuid, Error>;
}

impl<R: Row> Columns for R
where
    for<'n> &'n str: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> PrimitiveDateTime: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Uuid: Decode<'r, R::Database> + Type<R::Database>,
{
    fn number(&self, column: &str) -> Result<i64, Error> {
        self.try_get(column)
    }

    fn number_or_null(&self, column: &str) -> Result<Option<i64>, Error> {
        self.try_get(column)
    }

    fn truth(&self, column: &str) -> Result<bool, Error> {
        self.try_get(column)
    }

    fn text(&self, column: &str) -> Result<String, Error> {
        self.try_get(column)
    }

    fn text_or_null(&self, column: &str) -> Result<Option<String>, Error> {
        self.try_get(column)
    }

    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error> {
        self.try_get(column)
    }

    fn bytes_or_null(&self, column: &str) -> Result<Option<Vec<u8>>, Error> {
        self.try_get(column)
    }

    fn moment(&self, column: &str) -> Result<PrimitiveDateTime, Error> {
        self.try_get(column)
    }

    fn moment_or_null(&self, column: &str) -> Result<Option<PrimitiveDateTime>, Error> {
        self.try_get(column)
    }

    fn uuid(&self, column: &str) -> Result<Uuid, Error> {
        self.try_get(column)
    }
}
