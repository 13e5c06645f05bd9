//! Rows on their way out: one plain record for each table, read by column name from either database, and the
//! checks that make rows of the domain from it.

use sqlx::FromRow;
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::StoreError;
use super::columns::Columns;
use super::rows::{
    CardToken, Idempotency, LedgerEntry, OutboxId, OutboxRow, StoredPayment, TokenId,
};
use crate::card_seal::SealedCard;
use crate::domain::{
    Brand, CardSummary, ClientName, Currency, DeclineCode, Event, EventId, EventKind, Expiration,
    Money, OrderId, Payment, PaymentId, PaymentStatus, Phase, Timestamp, UserId,
};

/// What can be read from a row of either database.
pub trait Record:
    for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

/// A row of table `payments`.
pub struct PaymentRecord {
    id: i64,
    client: String,
    order_id: i64,
    user_id: i64,
    amount_minor: i64,
    currency: String,
    status: String,
    decline_code: Option<String>,
    authorization_code: Option<String>,
    card: CardRecord,
    attempt: i64,
    metadata: String,
    sequence: i64,
    created_at: PrimitiveDateTime,
    updated_at: PrimitiveDateTime,
    try_number: i64,
    phase: String,
    uncertain: bool,
    sealed_card: Option<Vec<u8>>,
    claimed_until: Option<PrimitiveDateTime>,
    check_at: Option<PrimitiveDateTime>,
    idempotency_key: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
    origin: String,
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
            idempotency_key: row.bytes_or_null("idempotency_key")?,
            fingerprint: row.bytes_or_null("fingerprint")?,
            origin: row.text("origin")?,
        })
    }
}

/// The columns that describe a card.
struct CardRecord {
    card_brand: Option<String>,
    card_last4: Option<String>,
    card_expiration: Option<String>,
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
    id: Uuid,
    payment_id: i64,
    sequence: i64,
    kind: String,
    happened_at: PrimitiveDateTime,
    attempt: i64,
    try_number: i64,
    reason: Option<String>,
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
    id: Uuid,
    payment_id: Option<i64>,
    due_at: PrimitiveDateTime,
    publication: String,
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
    id: Vec<u8>,
    client: String,
    card: CardRecord,
    sealed_card: Option<Vec<u8>>,
    expires_at: PrimitiveDateTime,
    used_by: Option<i64>,
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
    idempotency_key: String,
    payment_id: i64,
    charged_at: Option<PrimitiveDateTime>,
    reversed_at: Option<PrimitiveDateTime>,
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

/// Turns records into rows; the first that cannot be read is the error.
pub fn all<T: TryInto<R, Error = StoreError>, R>(records: Vec<T>) -> Result<Vec<R>, StoreError> {
    records.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<PaymentRecord> for StoredPayment {
    type Error = StoreError;

    fn try_from(record: PaymentRecord) -> Result<Self, StoreError> {
        let id = record.id;
        let broken = |column: &str| StoreError::Corrupt(format!("payment {id}: {column}"));
        let currency = Currency::parse(&record.currency).map_err(|_| broken("currency"))?;
        let payment = Payment {
            id: PaymentId(id),
            client: ClientName::parse(&record.client).map_err(|_| broken("client"))?,
            order_id: OrderId(record.order_id),
            user_id: UserId(record.user_id),
            amount: Money::from_minor(record.amount_minor, currency)
                .map_err(|_| broken("amount_minor"))?,
            status: PaymentStatus::parse(&record.status).ok_or_else(|| broken("status"))?,
            decline_code: record.decline_code.map(DeclineCode::new),
            authorization_code: record.authorization_code,
            card: record.card.summary().map_err(|()| broken("card"))?,
            attempt: u32::try_from(record.attempt).map_err(|_| broken("attempt"))?,
            metadata: serde_json::from_str(&record.metadata).map_err(|_| broken("metadata"))?,
            sequence: u32::try_from(record.sequence).map_err(|_| broken("sequence"))?,
            created_at: record.created_at.assume_utc(),
            updated_at: record.updated_at.assume_utc(),
        };
        Ok(Self {
            payment,
            try_number: u32::try_from(record.try_number).map_err(|_| broken("try_number"))?,
            phase: Phase::parse(&record.phase).ok_or_else(|| broken("phase"))?,
            uncertain: record.uncertain,
            sealed_card: record.sealed_card.map(SealedCard),
            claimed_until: record.claimed_until.map(utc),
            check_at: record.check_at.map(utc),
            idempotency: idempotency(record.idempotency_key, record.fingerprint)
                .map_err(|()| broken("idempotency"))?,
            origin: serde_json::from_str(&record.origin).map_err(|_| broken("origin"))?,
        })
    }
}

impl CardRecord {
    fn summary(self) -> Result<Option<CardSummary>, ()> {
        match (self.card_brand, self.card_last4, self.card_expiration) {
            (None, None, None) => Ok(None),
            (Some(brand), Some(last4), Some(expiration)) => Ok(Some(CardSummary {
                brand: Brand::parse(&brand).ok_or(())?,
                last4,
                expiration: Expiration::parse(&expiration).map_err(|_| ())?,
            })),
            _ => Err(()),
        }
    }
}

impl Brand {
    /// The inverse of its `Display`.
    fn parse(text: &str) -> Option<Self> {
        [
            Self::Visa,
            Self::Mastercard,
            Self::Amex,
            Self::Discover,
            Self::Unknown,
        ]
        .into_iter()
        .find(|brand| brand.to_string() == text)
    }
}

impl Phase {
    /// The inverse of [`Self::as_str`].
    fn parse(text: &str) -> Option<Self> {
        [Self::Authorize, Self::Reverse]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }
}

fn idempotency(
    key: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
) -> Result<Option<Idempotency>, ()> {
    match (key, fingerprint) {
        (None, None) => Ok(None),
        (Some(key), Some(fingerprint)) => Ok(Some(Idempotency {
            key: String::from_utf8(key).map_err(|_| ())?,
            fingerprint: fingerprint.try_into().map_err(|_| ())?,
        })),
        _ => Err(()),
    }
}

fn utc(moment: PrimitiveDateTime) -> Timestamp {
    moment.assume_utc()
}

impl TryFrom<EventRecord> for Event {
    type Error = StoreError;

    fn try_from(record: EventRecord) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(format!("event {}: {column}", record.id));
        Ok(Self {
            id: EventId(record.id),
            payment: PaymentId(record.payment_id),
            sequence: u32::try_from(record.sequence).map_err(|_| broken("sequence"))?,
            kind: EventKind::parse(&record.kind).ok_or_else(|| broken("kind"))?,
            at: utc(record.happened_at),
            attempt: u32::try_from(record.attempt).map_err(|_| broken("attempt"))?,
            try_number: u32::try_from(record.try_number).map_err(|_| broken("try_number"))?,
            reason: record.reason,
        })
    }
}

impl TryFrom<OutboxRecord> for OutboxRow {
    type Error = StoreError;

    fn try_from(record: OutboxRecord) -> Result<Self, StoreError> {
        Ok(Self {
            id: OutboxId(record.id),
            payment: record.payment_id.map(PaymentId),
            due_at: utc(record.due_at),
            publication: serde_json::from_str(&record.publication).map_err(|_| {
                StoreError::Corrupt(format!("outbox row {}: publication", record.id))
            })?,
        })
    }
}

impl TryFrom<TokenRecord> for CardToken {
    type Error = StoreError;

    fn try_from(record: TokenRecord) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(format!("a card token's {column}"));
        Ok(Self {
            id: TokenId(String::from_utf8(record.id).map_err(|_| broken("id"))?),
            client: ClientName::parse(&record.client).map_err(|_| broken("client"))?,
            card: record
                .card
                .summary()
                .ok()
                .flatten()
                .ok_or_else(|| broken("card"))?,
            sealed_card: record.sealed_card.map(SealedCard),
            expires_at: utc(record.expires_at),
            used_by: record.used_by.map(PaymentId),
        })
    }
}

impl TryFrom<LedgerRecord> for LedgerEntry {
    type Error = StoreError;

    fn try_from(record: LedgerRecord) -> Result<Self, StoreError> {
        Ok(Self {
            key: record.idempotency_key,
            payment: PaymentId(record.payment_id),
            charged_at: record.charged_at.map(utc),
            reversed_at: record.reversed_at.map(utc),
        })
    }
}
