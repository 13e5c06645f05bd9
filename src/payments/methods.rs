//! Payment methods: issues card tokens and resolves them to their cards.

use rand::distr::{Alphanumeric, SampleString};

use super::acceptor::Acceptor;
use super::{AcceptError, IssuedToken, Submission};
use crate::domain::PaymentMethod;
use crate::domain::{Card, ClientName};
use crate::payments::leases::TOKEN_LIFE;
use crate::payments::presented_card::PresentedCard;
use crate::payments::tokens::NewToken;
use crate::store::rows::TokenId;
use crate::vault::Owner;

/// A payment method resolved to a card, with the token to use.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) card: Option<Card>,
    pub(super) token: Option<TokenId>,
}

impl Acceptor {
    /// Stores a sealed card for one payment of this client.
    pub async fn issue_token(
        &self,
        client: &ClientName,
        card: Card,
    ) -> Result<IssuedToken, AcceptError> {
        let id = TokenId(format!(
            "tok_{}",
            Alphanumeric.sample_string(&mut rand::rng(), 32)
        ));
        let sealed = self
            .seal
            .seal(&card, Owner::Token(&id.0, client))
            .map_err(|error| AcceptError::Seal(error.to_string()))?;
        let token = NewToken {
            id,
            client: client.clone(),
            card: PresentedCard {
                summary: card.summary(),
                sealed,
            },
            life: TOKEN_LIFE,
        };
        let token = self.commands.add_token(token).await?;
        Ok(IssuedToken {
            card_token: token.id.0,
            card: token.card,
            expires_at: token.expires_at,
        })
    }

    pub(super) async fn resolve(&self, submission: &Submission) -> Result<Resolved, AcceptError> {
        match submission.request.method.clone() {
            Some(method) => self.resolve_method(&submission.client, method).await,
            None => Ok(Resolved::default()),
        }
    }

    pub(super) async fn resolve_method(
        &self,
        client: &ClientName,
        method: PaymentMethod,
    ) -> Result<Resolved, AcceptError> {
        let token = match method {
            PaymentMethod::Card(card) => {
                return Ok(Resolved {
                    card: Some(card),
                    token: None,
                });
            }
            PaymentMethod::Token(token) => token,
        };
        if let Some(card) = self.test_tokens.and_then(|tokens| tokens.card(&token)) {
            return Ok(Resolved {
                card: Some(card),
                token: None,
            });
        }
        let id = TokenId(token);
        let row = self.database.card_token(&id).await?;
        let row = row.filter(|row| row.client == *client && row.used_by.is_none());
        let row = row.ok_or(AcceptError::TokenUnusable)?;
        // Erased because it had expired. Otherwise the commit decides, so that only the database's clock counts.
        let sealed = row.sealed_card.ok_or(AcceptError::TokenExpired)?;
        let card = self
            .seal
            .open(&sealed, Owner::Token(&id.0, client))
            .map_err(|error| AcceptError::Seal(error.to_string()))?;
        Ok(Resolved {
            card: Some(card),
            token: Some(id),
        })
    }
}
