//! Rows as they are read from either database: one plain record for each table, read by column name.

use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, FromRow};
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::columns::Columns;
use super::quarantine::Key;
use super::rows::OutboxId;
use crate::domain::PaymentId;

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

impl Table for PaymentRecord {
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Payment(PaymentId(row.number("id")?)))
    }

    fn mark<R: Columns>(row: &R) -> Result<Option<String>, sqlx::Error> {
        row.text_or_null("quarantined")
    }

    fn about_row<R: Columns>(row: &R) -> About {
        About {
            client: row.text("client").ok(),
            created_at: row.moment("created_at").ok(),
        }
    }

    fn about(&self) -> About {
        About {
            client: Some(self.client.clone()),
            created_at: Some(self.created_at),
        }
    }
}

impl Table for OutboxRecord {
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Outbox(OutboxId(row.uuid("id")?)))
    }

    fn mark<R: Columns>(row: &R) -> Result<Option<String>, sqlx::Error> {
        row.text_or_null("quarantined")
    }
}

impl Table for TokenRecord {
    fn key<R: Columns>(_row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Unmarked("card_tokens"))
    }
}

/// A row of table `payments`.
pub struct PaymentRecord {
    pub(super) id: i64,
    pub(super) client: String,
    pub(super) order_id: i64,
    pub(super) user_id: i64,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) status: String,
    pub(super) decline_code: Option<String>,
    pub(super) authorization_code: Option<String>,
    pub(super) card: CardRecord,
    pub(super) attempt: i64,
    pub(super) metadata: String,
    pub(super) sequence: i64,
    pub(super) created_at: PrimitiveDateTime,
    pub(super) updated_at: PrimitiveDateTime,
    pub(super) try_number: i64,
    pub(super) phase: String,
    pub(super) uncertain: bool,
    pub(super) sealed_card: Option<Vec<u8>>,
    pub(super) claimed_until: Option<PrimitiveDateTime>,
    pub(super) check_at: Option<PrimitiveDateTime>,
    pub(super) pending_code: Option<String>,
    pub(super) idempotency_key: Option<Vec<u8>>,
    pub(super) fingerprint: Option<Vec<u8>>,
    pub(super) origin: String,
    pub(super) return_url: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for PaymentRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.number("id")?,
            client: row.text("client")?,
            order_id: row.number("order_id")?,
            user_id: row.number("user_id")?,
            amount_minor: row.number("amount_minor")?,
            currency: row.text("currency")?,
            status: row.text("status")?,
            decline_code: row.text_or_null("decline_code")?,
            authorization_code: row.text_or_null("authorization_code")?,
            card: CardRecord::from_row(row)?,
            attempt: row.number("attempt")?,
            metadata: row.text("metadata")?,
            sequence: row.number("sequence")?,
            created_at: row.moment("created_at")?,
            updated_at: row.moment("updated_at")?,
            try_number: row.number("try_number")?,
            phase: row.text("phase")?,
            uncertain: row.truth("uncertain")?,
            sealed_card: row.bytes_or_null("sealed_card")?,
            claimed_until: row.moment_or_null("claimed_until")?,
            check_at: row.moment_or_null("check_at")?,
            pending_code: row.text_or_null("pending_code")?,
            idempotency_key: row.bytes_or_null("idempotency_key")?,
            fingerprint: row.bytes_or_null("fingerprint")?,
            origin: row.text("origin")?,
            return_url: row.text_or_null("return_url")?,
        })
    }
}

/// The columns that describe a card.
pub(super) struct CardRecord {
    pub(super) card_brand: Option<String>,
    pub(super) card_last4: Option<String>,
    pub(super) card_expiration: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for CardRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            card_brand: row.text_or_null("card_brand")?,
            card_last4: row.text_or_null("card_last4")?,
            card_expiration: row.text_or_null("card_expiration")?,
        })
    }
}

/// A row of table `payment_events`.
pub struct EventRecord {
    pub(super) id: Uuid,
    pub(super) payment_id: i64,
    pub(super) sequence: i64,
    pub(super) kind: String,
    pub(super) happened_at: PrimitiveDateTime,
    pub(super) attempt: i64,
    pub(super) try_number: i64,
    pub(super) reason: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for EventRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.uuid("id")?,
            payment_id: row.number("payment_id")?,
            sequence: row.number("sequence")?,
            kind: row.text("kind")?,
            happened_at: row.moment("happened_at")?,
            attempt: row.number("attempt")?,
            try_number: row.number("try_number")?,
            reason: row.text_or_null("reason")?,
        })
    }
}

/// A row of table `outbox`.
pub struct OutboxRecord {
    pub(super) id: Uuid,
    pub(super) payment_id: Option<i64>,
    pub(super) due_at: PrimitiveDateTime,
    pub(super) publication: String,
}

impl<'r, R: Columns> FromRow<'r, R> for OutboxRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.uuid("id")?,
            payment_id: row.number_or_null("payment_id")?,
            due_at: row.moment("due_at")?,
            publication: row.text("publication")?,
        })
    }
}

/// A row of table `card_tokens`.
pub struct TokenRecord {
    pub(super) id: Vec<u8>,
    pub(super) client: String,
    pub(super) card: CardRecord,
    pub(super) sealed_card: Option<Vec<u8>>,
    pub(super) expires_at: PrimitiveDateTime,
    pub(super) used_by: Option<i64>,
}

impl<'r, R: Columns> FromRow<'r, R> for TokenRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.bytes("id")?,
            client: row.text("client")?,
            card: CardRecord::from_row(row)?,
            sealed_card: row.bytes_or_null("sealed_card")?,
            expires_at: row.moment("expires_at")?,
            used_by: row.number_or_null("used_by")?,
        })
    }
}

/// A row of table `issuer_ledger`.
pub struct LedgerRecord {
    pub(super) idempotency_key: String,
    pub(super) payment_id: i64,
    pub(super) charged_at: Option<PrimitiveDateTime>,
    pub(super) reversed_at: Option<PrimitiveDateTime>,
}

impl<'r, R: Columns> FromRow<'r, R> for LedgerRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            idempotency_key: row.text("idempotency_key")?,
            payment_id: row.number("payment_id")?,
            charged_at: row.moment_or_null("charged_at")?,
            reversed_at: row.moment_or_null("reversed_at")?,
        })
    }
}
