//! Payment methods: issues card tokens and resolves them to their cards.

use rand::distr::{Alphanumeric, SampleString};

use super::acceptor::Acceptor;
use super::{AcceptError, IssuedToken, Submission};
use crate::domain::{
    Card, ClientName, MethodSummary, Money, OtherSummary, PaymentMethod, REDIRECT, WALLET,
};
use crate::payments::leases::TOKEN_LIFE;
use crate::payments::presented_card::{Chosen, Clear};
use crate::payments::tokens::NewToken;
use crate::processors::Unsupported;
use crate::processors::simulated::SimulatedIssuer;
use crate::store::rows::TokenId;
use crate::vault::Owner;
use crate::wire::rules::NotAllowed;

/// A payment method, with the token to use if it is the card of one.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) card: Option<Chosen>,
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
        allowed(rules.check_card(card.number.funding()), false)?;
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
                allowed(rules.check_method(&other.summary().name), false)?;
                let processor = self.processor_of_other(client, other.summary(), amount);
                let processor =
                    processor.or_else(|what| allowed(Err(what), false).map(|()| None))?;
                let method = Clear::Other(other);
                return Ok(Resolved {
                    card: Some(Chosen { method, processor }),
                    token: None,
                });
            }
            PaymentMethod::Card(card) => (card, None, false),
            PaymentMethod::Token(text) => {
                let (card, token) = self.card_of_token(client, text).await?;
                (card, token, true)
            }
        };
        allowed(rules.check_card(card.number.funding()), by_token)?;
        let processor = allowed(self.routed(client, MethodSummary::CARD, amount), by_token)?;
        let method = Clear::Card(card);
        Ok(Resolved {
            card: Some(Chosen { method, processor }),
            token,
        })
    }

    /// Whether shoppers can act on their method, and its processor takes this amount: the one that it names, or that a route
    /// chooses.
    fn processor_of_other(
        &self,
        client: &ClientName,
        method: &OtherSummary,
        amount: Money,
    ) -> Result<Option<String>, NotAllowed> {
        let name = &method.name;
        if name == WALLET && !self.reaches_shoppers {
            let method = name.clone();
            return Err(NotAllowed::Unreachable { method });
        }
        if name == REDIRECT && !self.has_public_url {
            let method = name.clone();
            return Err(NotAllowed::NoWayBack { method });
        }
        if let Some(processor) = method.processor() {
            let checked = self.processors.check(processor, name, amount);
            let refused = |why: Unsupported| NotAllowed::Platform {
                processor: processor.to_owned(),
                why: why.to_string(),
            };
            return checked.map(|()| None).map_err(refused);
        }
        let routed = self.routed(client, name, amount)?;
        if name == REDIRECT && routed.is_none() {
            let known = self.processors.names();
            return Err(NotAllowed::NoRoute { known });
        }
        Ok(routed)
    }

    /// The processor that a route chooses; none for the simulated issuer.
    fn routed(
        &self,
        client: &ClientName,
        method: &str,
        amount: Money,
    ) -> Result<Option<String>, NotAllowed> {
        let routed = self.processors.route(client, method, amount);
        let routed = routed.map_err(|refused| NotAllowed::Routed {
            processor: refused.processor,
            why: refused.why.to_string(),
        })?;
        Ok(routed.filter(|name| name != SimulatedIssuer::NAME))
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

fn allowed<T>(checked: Result<T, NotAllowed>, by_token: bool) -> Result<T, AcceptError> {
    checked.map_err(|what| AcceptError::NotAllowed { what, by_token })
}
