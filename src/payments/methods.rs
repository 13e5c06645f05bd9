//! Payment methods: issues card tokens and resolves them to their cards.

use rand::distr::{Alphanumeric, SampleString};

use super::acceptor::Acceptor;
use super::{AcceptError, IssuedToken, Submission};
use crate::domain::{Card, ClientName, Money, OtherSummary, PaymentMethod, REDIRECT, WALLET};
use crate::payments::leases::TOKEN_LIFE;
use crate::payments::presented_card::Clear;
use crate::payments::tokens::NewToken;
use crate::store::rows::TokenId;
use crate::vault::Owner;
use crate::wire::rules::NotAllowed;

/// A payment method, with the token to use if it is the card of one.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) card: Option<Clear>,
    pub(super) token: Option<TokenId>,
}

impl Acceptor {
    /// Stores a sealed card for one payment of this client.
    pub async fn issue_token(
        &self,
        client: &ClientName,
        card: Card,
    ) -> Result<IssuedToken, AcceptError> {
        let rules = self.clients.rules(client);
        not_allowed(rules.check_card(card.number.funding()), false)?;
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
            card: card.summary(),
            sealed,
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
            Some(method) => {
                let amount = submission.request.amount;
                self.resolve_method(&submission.client, method, amount)
                    .await
            }
            None => Ok(Resolved::default()),
        }
    }

    /// The method, or the card behind its token, if the client may use it and its processor takes this amount.
    pub(super) async fn resolve_method(
        &self,
        client: &ClientName,
        method: PaymentMethod,
        amount: Money,
    ) -> Result<Resolved, AcceptError> {
        let rules = self.clients.rules(client);
        let (card, token, by_token) = match method {
            PaymentMethod::Other(other) => {
                not_allowed(rules.check_method(&other.summary().name), false)?;
                not_allowed(self.check_other(other.summary(), amount), false)?;
                return Ok(Resolved {
                    card: Some(Clear::Other(other)),
                    token: None,
                });
            }
            PaymentMethod::Card(card) => (card, None, false),
            PaymentMethod::Token(text) => {
                let (card, token) = self.card_of_token(client, text).await?;
                (card, token, true)
            }
        };
        not_allowed(rules.check_card(card.number.funding()), by_token)?;
        Ok(Resolved {
            card: Some(Clear::Card(card)),
            token,
        })
    }

    /// Whether shoppers can act on their method, and its platform takes this amount.
    fn check_other(&self, method: &OtherSummary, amount: Money) -> Result<(), NotAllowed> {
        let name = &method.name;
        if name == WALLET && !self.reaches_shoppers {
            let method = name.clone();
            return Err(NotAllowed::Unreachable { method });
        }
        if name == REDIRECT && !self.has_public_url {
            let method = name.clone();
            return Err(NotAllowed::NoWayBack { method });
        }
        let Some(processor) = method.processor() else {
            return Ok(());
        };
        let checked = self.processors.check(processor, name, amount);
        checked.map_err(|why| NotAllowed::Platform {
            processor: processor.to_owned(),
            why: why.to_string(),
        })
    }

    /// The card of a token, and the id of the token unless it may be used again.
    async fn card_of_token(
        &self,
        client: &ClientName,
        token: String,
    ) -> Result<(Card, Option<TokenId>), AcceptError> {
        if let Some(card) = self.test_tokens.and_then(|tokens| tokens.card(&token)) {
            return Ok((card, None));
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
        Ok((card, Some(id)))
    }
}

fn not_allowed(checked: Result<(), NotAllowed>, by_token: bool) -> Result<(), AcceptError> {
    checked.map_err(|what| AcceptError::NotAllowed { what, by_token })
}
