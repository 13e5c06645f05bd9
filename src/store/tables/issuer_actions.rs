//! Table `issuer_actions`: the pages on which shoppers approve attempts at the simulated issuer.

use std::time::Duration;

use sqlx::FromRow;
use time::PrimitiveDateTime;

use crate::domain::{Currency, Money, PaymentId};
use crate::store::bulk::Both;
use crate::store::columns::Columns;
use crate::store::records::{all, unreadable, utc};
use crate::store::rows::IssuerAction;
use crate::store::{Store, StoreError};

/// (secret) → action
const BY_SECRET: &str = "SELECT * FROM issuer_actions WHERE secret = ?";

/// (key) → action
const BY_KEY: &str = "SELECT * FROM issuer_actions WHERE idempotency_key = ?";

/// (key, secret, payment, amount, currency, held, test card, return address, expiry): unless the key has one. Of several at the
/// same time the first is kept, and none fails.
static INSERT: Both<&str> = Both {
    mysql: "
INSERT INTO issuer_actions (
    idempotency_key, secret, payment_id, amount_minor, currency, held, test_card, return_to, expires_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE idempotency_key = issuer_actions.idempotency_key",
    sqlite: "
INSERT INTO issuer_actions (
    idempotency_key, secret, payment_id, amount_minor, currency, held, test_card, return_to, expires_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING",
};

/// (answer, key): the first answer stays
const ANSWER: &str =
    "UPDATE issuer_actions SET answer = COALESCE(answer, ?) WHERE idempotency_key = ?";

/// A row of table `issuer_actions`.
struct Record {
    idempotency_key: String,
    secret: String,
    payment_id: i64,
    amount_minor: i64,
    currency: String,
    held: bool,
    test_card: Option<String>,
    return_to: String,
    expires_at: PrimitiveDateTime,
    answer: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for Record {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            idempotency_key: row.text("idempotency_key")?,
            secret: row.text("secret")?,
            payment_id: row.number("payment_id")?,
            amount_minor: row.number("amount_minor")?,
            currency: row.text("currency")?,
            held: row.truth("held")?,
            test_card: row.text_or_null("test_card")?,
            return_to: row.text("return_to")?,
            expires_at: row.moment("expires_at")?,
            answer: row.text_or_null("answer")?,
        })
    }
}

impl TryFrom<Record> for IssuerAction {
    type Error = StoreError;

    fn try_from(record: Record) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
        let currency = Currency::parse(&record.currency).map_err(|_| broken("currency"))?;
        let amount = Money::from_minor(record.amount_minor, currency);
        Ok(Self {
            secret: record.secret,
            key: record.idempotency_key,
            payment: PaymentId(record.payment_id),
            amount: amount.map_err(|_| broken("amount_minor"))?,
            held: record.held,
            test_card: record.test_card,
            return_to: record.return_to,
            expires_at: utc(record.expires_at),
            answer: record.answer,
        })
    }
}

impl Store {
    /// Adds an action that can be used for so long by the database's clock, unless its key has one already; returns the one
    /// that it has.
    pub async fn open_issuer_action(
        &self,
        action: &IssuerAction,
        life: Duration,
    ) -> Result<IssuerAction, StoreError> {
        if let Some(existing) = self.issuer_action_of(&action.key).await? {
            return Ok(existing);
        }
        let mut tx = self.begin().await?;
        let parameters = [
            action.key.as_str().into(),
            action.secret.as_str().into(),
            action.payment.0.into(),
            action.amount.minor().into(),
            action.amount.currency().code().into(),
            action.held.into(),
            action.test_card.as_deref().into(),
            action.return_to.as_str().into(),
            (tx.now() + life).into(),
        ];
        let insert = *tx.connection.choose(&INSERT);
        tx.connection.execute(insert, &parameters).await?;
        tx.commit().await?;
        let opened = self.issuer_action_of(&action.key).await?;
        Ok(opened.unwrap_or_else(|| action.clone()))
    }

    /// The action of an attempt, by the attempt's key.
    pub async fn issuer_action_of(&self, key: &str) -> Result<Option<IssuerAction>, StoreError> {
        let found = all(self.read::<Record>(BY_KEY, &[key.into()]).await?)?;
        Ok(found.into_iter().next())
    }

    /// The action with that secret.
    pub async fn issuer_action(&self, secret: &str) -> Result<Option<IssuerAction>, StoreError> {
        let found = all(self.read::<Record>(BY_SECRET, &[secret.into()]).await?)?;
        Ok(found.into_iter().next())
    }

    /// Notes an action's answer; the first one stays.
    pub async fn answer_issuer_action(&self, key: &str, answer: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let parameters = [answer.into(), key.into()];
        tx.connection.execute(ANSWER, &parameters).await?;
        tx.commit().await
    }
}
