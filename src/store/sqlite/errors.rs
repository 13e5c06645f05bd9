//! The meaning of SQLite's result codes for this service.

use sqlx::Error;
use sqlx::migrate::MigrateError;

use crate::store::StoreError;

/// Classifies an error; codes as in <https://www.sqlite.org/rescode.html>.
pub fn classify(error: Error) -> StoreError {
    let Error::Database(database) = &error else {
        return match error {
            Error::ColumnDecode { .. } | Error::ColumnNotFound(_) | Error::Decode(_) => {
                StoreError::Corrupt(error.to_string())
            }
            _ => StoreError::Unavailable(error.into()),
        };
    };
    let extended = database.code().and_then(|code| code.parse().ok());
    let message = database.message();
    // The primary code is the low byte of the extended one.
    match extended.map(|code: i32| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Some(5 | 6) => StoreError::Conflict(error.into()),
        // SQLITE_ERROR has no finer code for a missing table or column.
        Some(1) if message.starts_with("no such table") || message.contains("column named") => {
            StoreError::Migration(MigrateError::Execute(error).into())
        }
        // SQLITE_ERROR, SQLITE_TOOBIG, SQLITE_CONSTRAINT (CHECK, NOT NULL, UNIQUE, STRICT types), SQLITE_MISMATCH,
        // SQLITE_RANGE
        Some(1 | 18 | 19 | 20 | 25) => StoreError::Rejected(error.into()),
        // A full disk, an unreadable or read-only file, and everything else
        _ => StoreError::Unavailable(error.into()),
    }
}

/// Whether the connection should not be used again: the file was moved, is read-only or unreadable, or its disk fails.
/// The connection's state about the file is then invalid; a new one reads it again.
pub fn is_of_the_connection(error: &StoreError) -> bool {
    let (StoreError::Unavailable(cause) | StoreError::CommitUnknown(cause)) = error else {
        return false;
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    let extended = code.and_then(|code| code.parse().ok());
    // SQLITE_READONLY, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_CANTOPEN, SQLITE_NOTADB
    matches!(
        extended.map(|code: i32| code & 0xff),
        Some(8 | 10 | 11 | 14 | 26)
    )
}

/// An error while committing.
pub fn classify_commit(error: Error) -> StoreError {
    match classify(error) {
        StoreError::Unavailable(error) => StoreError::CommitUnknown(error),
        other => other,
    }
}
