//! Rows on their way out: the checks that make rows of the domain from what was read ([`super::records`]).

use time::PrimitiveDateTime;

use super::StoreError;
use super::records::{
    CardRecord, EventRecord, LedgerRecord, OutboxRecord, PaymentRecord, TokenRecord,
};
use super::rows::{
    CardToken, Idempotency, LedgerEntry, OutboxId, OutboxRow, StoredPayment, TokenId,
};
use crate::card_seal::SealedCard;
use crate::domain::{
    Brand, CardSummary, ClientName, Currency, DeclineCode, Event, EventId, EventKind, Expiration,
    Money, OrderId, Payment, PaymentId, PaymentStatus, Phase, ReturnUrl, Timestamp, UserId,
};

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
            return_url: record
                .return_url
                .map(|text| ReturnUrl::parse(&text))
                .transpose()
                .map_err(|_| broken("return_url"))?,
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
