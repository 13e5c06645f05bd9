//! Card tokens: kept until they are used or expire.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{ClientName, Timestamp};
use crate::payments::presented_card::PresentedCard;
use crate::store::batch::Batch;
use crate::store::rows::{CardToken, TokenId};
use crate::store::{Database, StoreError, is_usable};

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

/// A card that is to be kept for one payment of this client.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Random, so that nobody guesses it.
    pub id: TokenId,
    /// Whose it is.
    pub client: ClientName,
    /// Sealed for this token and client.
    pub card: PresentedCard,
    /// From the commit on, by the database's clock.
    pub life: Duration,
}

/// Tokens that are asked for at the same time share a transaction. A caller who disconnects does not break a connection
/// off in the middle of one.
pub(super) struct AddTokens {
    pub database: Arc<dyn Database>,
}

#[async_trait]
impl Batch for AddTokens {
    const NAME: &'static str = "add_tokens";
    type Item = NewToken;
    type Outcome = CardToken;

    /// Run again after a commit in doubt, the rows stay as they are: a token then expires some seconds before the time
    /// that is told.
    async fn run(&self, items: &[NewToken]) -> Result<Vec<CardToken>, StoreError> {
        let mut tx = self.database.begin().await?;
        let now = tx.now();
        let tokens: Vec<CardToken> = items.iter().map(|item| item.begin(now)).collect();
        tx.insert_tokens(&tokens).await?;
        tx.commit().await?;
        Ok(tokens)
    }

    async fn succeeds_without_items(&self) -> bool {
        is_usable(self.database.as_ref()).await
    }
}

impl NewToken {
    fn begin(&self, now: Timestamp) -> CardToken {
        CardToken {
            id: self.id.clone(),
            client: self.client.clone(),
            card: self.card.summary.clone(),
            sealed_card: Some(self.card.sealed.clone()),
            expires_at: now + self.life,
            used_by: None,
        }
    }
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
