//! Table `card_tokens`.

use sqlx::FromRow;
use time::PrimitiveDateTime;

use super::card_columns::CardRecord;
use super::{binary_ids, sorted};
use crate::domain::{ClientName, PaymentId, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{Table, Tried, each, unreadable, utc};
use crate::store::rows::{CardToken, TokenId};
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{Store, StoreError, Transaction};
use crate::vault::SealedCard;

/// (hexadecimal id) → token
const TOKEN: &str = "SELECT * FROM card_tokens WHERE id = UNHEX(?)";

/// (now) → a row, if any card must be erased. Locks nothing: usually there is none.
const TOKENS_ARE_EXPIRED: &str = "SELECT id FROM card_tokens WHERE erase_at < ? LIMIT 1";

/// (time) → a row, if any card is due to be erased later. Locks nothing: usually there is none.
pub(in crate::store) const TOKEN_IS_AHEAD: &str =
    "SELECT 1 FROM card_tokens WHERE erase_at > ? LIMIT 1";

/// (latest expiry twice, time)
pub(in crate::store) const BRING_TOKENS_BACK: &str =
    "UPDATE card_tokens SET expires_at = ?, erase_at = ? WHERE erase_at > ?";

/// (rows)
static INSERT_TOKENS: Both<ManyRows> = Both {
    mysql: Json(
        "
INSERT INTO card_tokens (
    id, client, card_brand, card_last4, card_expiration, sealed_card, expires_at, used_by, erase_at
)
SELECT
    UNHEX(given.id), given.client, given.card_brand, given.card_last4, given.card_expiration,
    UNHEX(given.sealed_card), given.expires_at, given.used_by,
    IF(given.sealed_card IS NULL, NULL, given.expires_at)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    client VARCHAR(65) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON ERROR,
    card_brand VARCHAR(17) CHARACTER SET utf8mb4 PATH '$[2]' ERROR ON ERROR,
    card_last4 VARCHAR(5) CHARACTER SET utf8mb4 PATH '$[3]' ERROR ON ERROR,
    card_expiration VARCHAR(8) CHARACTER SET utf8mb4 PATH '$[4]' ERROR ON ERROR,
    sealed_card LONGTEXT CHARACTER SET ascii PATH '$[5]' ERROR ON ERROR,
    expires_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[6]' ERROR ON ERROR,
    used_by BIGINT PATH '$[7]' ERROR ON ERROR
)) AS given
ON DUPLICATE KEY UPDATE id = card_tokens.id",
    ),
    sqlite: Json(
        "
INSERT INTO card_tokens (
    id, client, card_brand, card_last4, card_expiration, sealed_card, expires_at, used_by, erase_at
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    unhex(value ->> '$[5]'), value ->> '$[6]', value ->> '$[7]',
    iif(value ->> '$[5]' IS NULL, NULL, value ->> '$[6]')
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows of id) → tokens, locked
static LOCK_TOKENS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT card_tokens.* FROM (SELECT UNHEX(given.id) AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = wanted.id
FOR UPDATE",
    ),
    sqlite: Json(
        "
SELECT * FROM card_tokens
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1)) ORDER BY id",
    ),
};

/// (rows of id, payment id)
static USE_TOKENS: Both<ManyRows> = Both {
    mysql: Json("
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    used_by BIGINT PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = UNHEX(given.id)
SET card_tokens.used_by = given.used_by, card_tokens.sealed_card = NULL, card_tokens.erase_at = NULL"),
    sqlite: Json("
UPDATE card_tokens SET used_by = value ->> '$[1]', sealed_card = NULL, erase_at = NULL
FROM json_each(?1) WHERE card_tokens.id = unhex(value ->> '$[0]')"),
};

/// (now, limit) → ids, locked; those locked by others are skipped
static LOCK_EXPIRED_TOKENS: Both<&str> = Both {
    mysql: "
SELECT id FROM card_tokens FORCE INDEX (card_tokens_to_erase)
WHERE erase_at < ? ORDER BY erase_at LIMIT ?
FOR UPDATE SKIP LOCKED",
    sqlite: "SELECT id FROM card_tokens WHERE erase_at < ?1 ORDER BY erase_at LIMIT ?2",
};

/// (rows of id)
static ERASE_TOKENS: Both<ManyRows> = Both {
    mysql: Json(
        "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = UNHEX(given.id)
SET card_tokens.sealed_card = NULL, card_tokens.erase_at = NULL",
    ),
    sqlite: Json(
        "
UPDATE card_tokens SET sealed_card = NULL, erase_at = NULL
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))",
    ),
};

/// A row of table `card_tokens`.
pub(in crate::store) struct TokenRecord {
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

impl Table for TokenRecord {
    fn key<R: Columns>(_row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Unmarked("card_tokens"))
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

/// Card tokens in the order of the columns of table `card_tokens`, without `erase_at`, which follows from them.
fn token_rows(tokens: &[CardToken]) -> Vec<Row<'_>> {
    tokens.iter().map(token).collect()
}

fn token(token: &CardToken) -> Row<'_> {
    vec![
        SqlValue::bytes(token.id.0.as_bytes()),
        token.client.as_str().into(),
        token.card.brand.to_string().into(),
        token.card.last4.as_str().into(),
        token.card.expiration.to_string().into(),
        token
            .sealed_card
            .as_ref()
            .map(|card| SqlValue::bytes(&card.0))
            .into(),
        token.expires_at.into(),
        token.used_by.map(|id| id.0).into(),
    ]
}

/// Token ids, sorted.
fn token_ids(ids: &[TokenId]) -> Vec<Row<'_>> {
    binary_ids(ids.iter().map(|id| id.0.as_bytes()))
}

/// Tokens with the payments that they serve, sorted.
fn use_rows(uses: &[(TokenId, PaymentId)]) -> Vec<Row<'_>> {
    let rows = uses.iter();
    sorted(rows.map(|(token, payment)| vec![SqlValue::bytes(token.0.as_bytes()), payment.0.into()]))
}

impl Transaction {
    /// Adds card tokens.
    pub async fn insert_tokens(&mut self, tokens: &[CardToken]) -> Result<(), StoreError> {
        self.write(
            self.connection.choose(&INSERT_TOKENS),
            token_rows(tokens),
            &[],
        )
        .await
    }

    /// Locks card tokens in the order of their ids; unknown ones are ignored.
    pub async fn lock_tokens(&mut self, tokens: &[TokenId]) -> Result<Vec<CardToken>, StoreError> {
        let ids = token_ids(tokens);
        let statement = self.connection.choose(&LOCK_TOKENS);
        let found: Vec<Tried<TokenRecord>> = self.look_up(statement, ids, &[]).await?;
        Ok(each(found, &mut self.left_out))
    }

    /// Marks locked tokens as used by a payment and erases their sealed cards.
    pub async fn use_tokens(&mut self, uses: &[(TokenId, PaymentId)]) -> Result<(), StoreError> {
        self.write(self.connection.choose(&USE_TOKENS), use_rows(uses), &[])
            .await
    }

    /// Erases the sealed cards of up to `limit` tokens that expired before `now`; returns how many.
    pub async fn erase_expired_tokens(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let expired: Vec<(Vec<u8>,)> = self
            .connection
            .fetch(TOKENS_ARE_EXPIRED, &[now.into()])
            .await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let parameters = [now.into(), limit.into()];
        let lock = *self.connection.choose(&LOCK_EXPIRED_TOKENS);
        let locked: Vec<(Vec<u8>,)> = self.connection.fetch(lock, &parameters).await?;
        let rows = binary_ids(locked.iter().map(|(id,)| id.as_slice()));
        self.write(self.connection.choose(&ERASE_TOKENS), rows, &[])
            .await?;
        Ok(locked.len() as u64)
    }
}

impl Store {
    /// A card token, even if it is used or expired.
    pub async fn card_token(&self, token: &TokenId) -> Result<Option<CardToken>, StoreError> {
        let parameters = [hex::encode(&token.0).into()];
        let found: Vec<Tried<TokenRecord>> = self.read(TOKEN, &parameters).await?;
        // A token that cannot be read is useless to its client, which can create another.
        let mut left_out = Vec::new();
        let token = each(found, &mut left_out).pop();
        left_out.iter().for_each(SetAside::report);
        Ok(token)
    }
}
