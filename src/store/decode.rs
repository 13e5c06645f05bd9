//! Converts records that were read ([`super::records`]) into rows with the domain's types, and checks them.

use time::PrimitiveDateTime;

use super::StoreError;
use super::quarantine::SetAside;
use super::records::{
    CardRecord, EventRecord, LedgerRecord, OutboxRecord, PaymentRecord, Table, TokenRecord, Tried,
};
use super::rows::{
    CardToken, Idempotency, LedgerEntry, OutboxId, OutboxRow, StoredPayment, TokenId,
};
use crate::domain::{
    Brand, CardSummary, ClientName, Currency, DeclineCode, Event, EventId, EventKind, Expiration,
    Money, OrderId, Payment, PaymentId, PaymentStatus, PendingOutcome, Phase, ReturnUrl, Timestamp,
    UserId,
};
use crate::vault::SealedCard;

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

fn unreadable(column: &str) -> String {
    format!("{column} cannot be read")
}

impl TryFrom<PaymentRecord> for StoredPayment {
    type Error = StoreError;

    fn try_from(record: PaymentRecord) -> Result<Self, StoreError> {
        let id = record.id;
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
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
            pending: record
                .pending_code
                .and_then(|text| PendingOutcome::parse(&text, record.attempt)),
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

impl PendingOutcome {
    /// The inverse of `of_attempt`; none if it was written for another attempt, or cannot be read. Then the attempt ends as
    /// in releases without the column: failed, because the issuer did not answer.
    fn parse(text: &str, attempt: i64) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        if words.next()?.parse() != Ok(attempt) {
            return None;
        }
        match (PaymentStatus::parse(words.next()?)?, words.next()?) {
            (PaymentStatus::Declined, code) => Some(Self::Declined {
                code: DeclineCode::new(code.to_owned()),
            }),
            (PaymentStatus::Failed, reason) => Some(Self::Failed {
                reason: DeclineCode::new(reason.to_owned()),
            }),
            _ => None,
        }
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
            content: serde_json::from_str(&record.publication)
                .map_err(|_| StoreError::Corrupt(unreadable("publication")))?,
        })
    }
}

impl TryFrom<TokenRecord> for CardToken {
    type Error = StoreError;

    fn try_from(record: TokenRecord) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
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
