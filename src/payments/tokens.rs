//! Card tokens: kept until they are used or expire.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{CardSummary, ClientName, Timestamp};
use crate::store::batch::Batch;
use crate::store::rows::{CardToken, TokenId};
use crate::store::{Store, StoreError};
use crate::vault::SealedCard;

/// Maximum number of expired tokens erased in one transaction.
pub const ERASED_AT_ONCE: u32 = 500;

/// Why a card token cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It does not exist, belongs to another client, or was used by another payment.
    Unusable,
    /// Expired, by the database's clock.
    Expired,
}

/// Why a payment of this client cannot use the token, if it cannot.
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

/// A card to store for one payment of this client.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Random, so that it cannot be guessed.
    pub id: TokenId,
    /// The client it belongs to.
    pub client: ClientName,
    /// The parts of the card that may be shown.
    pub card: CardSummary,
    /// The card, sealed for this token and client.
    pub sealed: SealedCard,
    /// How long it lives after the commit, by the database's clock.
    pub life: Duration,
}

/// Tokens requested at the same time share a transaction. A caller that disconnects does not break a connection in the
/// middle of one.
pub(super) struct AddTokens {
    pub database: Store,
}

#[async_trait]
impl Batch for AddTokens {
    const NAME: &'static str = "add_tokens";
    type Item = NewToken;
    type Outcome = CardToken;

    /// If it runs again after a commit with an unknown result, the rows stay unchanged: a token then expires some seconds
    /// before the time that the client was given.
    async fn run(&self, items: &[NewToken]) -> Result<Vec<CardToken>, StoreError> {
        let mut tx = self.database.begin().await?;
        let now = tx.now();
        let tokens: Vec<CardToken> = items.iter().map(|item| item.begin(now)).collect();
        tx.insert_tokens(&tokens).await?;
        tx.commit().await?;
        Ok(tokens)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}

impl NewToken {
    fn begin(&self, now: Timestamp) -> CardToken {
        CardToken {
            id: self.id.clone(),
            client: self.client.clone(),
            card: self.card.clone(),
            sealed_card: Some(self.sealed.clone()),
            expires_at: now + self.life,
            used_by: None,
        }
    }
}

/// Erases the cards of expired tokens; returns how many.
pub(super) async fn erase_expired(database: &Store) -> Result<u64, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let erased = tx.erase_expired_tokens(now, ERASED_AT_ONCE).await?;
    if erased > 0 {
        tx.commit().await?;
    }
    Ok(erased)
}
