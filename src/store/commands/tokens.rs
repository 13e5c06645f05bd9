//! Card tokens: kept until they are used or expire.

use crate::domain::{ClientName, Timestamp};
use crate::store::rows::CardToken;
use crate::store::{Database, StoreError};

/// Expired tokens whose cards are erased at once.
pub const ERASED_AT_ONCE: u32 = 500;

/// Why a card token cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It is gone, another client's, or was used by another payment.
    Unusable,
    /// By the database's clock.
    Expired,
}

/// What keeps a payment of this client from using the token.
pub(super) fn fault(
    token: Option<&CardToken>,
    client: &ClientName,
    now: Timestamp,
) -> Option<TokenFault> {
    match token.filter(|token| token.client == *client) {
        None => Some(TokenFault::Unusable),
        Some(token) if token.used_by.is_some() => Some(TokenFault::Unusable),
        Some(token) if token.expires_at <= now => Some(TokenFault::Expired),
        Some(_) => None,
    }
}

/// Keeps a token that is drafted with the database's time.
pub(super) async fn add(
    database: &dyn Database,
    draft: impl FnOnce(Timestamp) -> CardToken + Send,
) -> Result<CardToken, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let token = draft(now);
    tx.insert_tokens(std::slice::from_ref(&token)).await?;
    tx.commit().await?;
    Ok(token)
}

/// Erases the cards of expired tokens; returns how many.
pub(super) async fn erase_expired(database: &dyn Database) -> Result<u64, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let erased = tx.erase_expired_tokens(now, ERASED_AT_ONCE).await?;
    if erased > 0 {
        tx.commit().await?;
    }
    Ok(erased)
}
