//! The one function that accepts a payment, and its neighbours: presenting a card, canceling, card tokens.

use std::sync::Arc;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use tracing::Instrument;

use super::{AcceptError, Accepted, IssuedToken, PaymentMethod, Presented, Submission, WayIn};
use crate::card_seal::{Owner, SealKeys};
use crate::domain::{Card, ClientName, Payment, PaymentId, Refusal, Timestamp, Trigger};
use crate::processor::Processor;
use crate::relay::Relay;
use crate::store::Database;
use crate::store::commands::{
    AcceptOutcome, Advance, Advanced, Commands, NewPayment, PresentedCard, RowIds,
};
use crate::store::rows::{CardToken, Idempotency, StoredPayment, TokenId};

/// How long a card token can be used.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// Accepts payments from both ways in.
pub struct Acceptor {
    /// Writes.
    pub commands: Commands,
    /// Reads of keys and tokens.
    pub database: Arc<dyn Database>,
    /// Seals cards and keys fingerprints.
    pub seal: Arc<SealKeys>,
    /// Knows the reusable test tokens.
    pub processor: Arc<dyn Processor>,
    /// Takes what is to be published.
    pub relay: Relay,
}

/// A payment method made out as a card, with the token that is used up by it.
#[derive(Default)]
struct Resolved {
    card: Option<Card>,
    token: Option<TokenId>,
}

impl Acceptor {
    /// Accepts a payment, or answers with the one that its idempotency key made before.
    pub async fn accept(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let span = tracing::debug_span!("accept", payment.id = tracing::field::Empty);
        let accepted = self
            .accept_or_replay(submission)
            .instrument(span.clone())
            .await?;
        span.record("payment.id", accepted.payment.id.0);
        Ok(accepted)
    }

    async fn accept_or_replay(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let fingerprinted = submission.request.canonical();
        if let Some(key) = &submission.idempotency_key {
            // A key is looked up before its token is touched and before an id is spent.
            let known = self
                .database
                .payment_by_key(&submission.client, key)
                .await?;
            if let Some(known) = known {
                return self.replay(&known, &fingerprinted);
            }
        }
        if self.relay.backlog_is_full() {
            return Err(AcceptError::BacklogFull);
        }
        let resolved = match self.resolve(&submission).await {
            Err(AcceptError::TokenExpired) if submission.way_in == WayIn::Message => {
                Resolved::default()
            }
            resolved => resolved?,
        };
        let id = self.commands.next_payment_id().await?;
        let card = resolved
            .card
            .map(|card| self.seal_card(&card, id, 1))
            .transpose()?;
        let payment = NewPayment {
            id,
            order_id: submission.request.order_id,
            user_id: submission.request.user_id,
            amount: submission.request.amount,
            metadata: submission.request.metadata,
            card,
            token: resolved.token,
            idempotency: submission.idempotency_key.map(|key| Idempotency {
                key,
                fingerprint: self.seal.fingerprint(&fingerprinted),
            }),
            client: submission.client,
            origin: submission.origin,
            announce: submission.way_in == WayIn::Message,
            ids: RowIds::draw(),
        };
        match self.commands.accept(payment).await? {
            AcceptOutcome::Accepted(payment, outbox) => {
                self.relay.hand_over(outbox);
                Ok(Accepted {
                    payment: *payment,
                    replayed: false,
                })
            }
            AcceptOutcome::Existing(known) => self.replay(&known, &fingerprinted),
            AcceptOutcome::TokenUnusable => Err(AcceptError::TokenUnusable),
        }
    }

    /// Presents a card for a payment that waits for one.
    pub async fn present_card(
        &self,
        client: &ClientName,
        id: PaymentId,
        method: PaymentMethod,
    ) -> Result<Presented, AcceptError> {
        let stored = self.database.payment(id).await?;
        let stored = stored
            .filter(|stored| stored.payment.client == *client)
            .ok_or(AcceptError::NotFound(id))?;
        if let Err(refusal) = crate::domain::next(stored.progress(), &Trigger::PresentCard) {
            return presented_too_late(refusal, stored.payment);
        }
        let resolved = self.resolve_method(client, method).await?;
        let attempt = stored.payment.attempt + 1;
        let card = resolved
            .card
            .map(|card| self.seal_card(&card, id, attempt))
            .transpose()?;
        let advance = Advance {
            payment: id,
            client: Some(client.clone()),
            trigger: Trigger::PresentCard,
            card: card.map(|card| (card, attempt)),
            token: resolved.token,
            delay: Duration::ZERO,
            ids: RowIds::draw(),
        };
        match self.commands.advance(advance).await? {
            Advanced::Moved(payment, outbox) => {
                self.relay.hand_over(outbox);
                Ok(Presented::Started(payment))
            }
            // Another card was presented in the meantime: this one was not used.
            Advanced::AnotherAttempt(payment) => Ok(Presented::AsItStands(payment)),
            Advanced::Refused(refusal, payment) => presented_too_late(refusal, payment),
            Advanced::NotFound => Err(AcceptError::NotFound(id)),
            Advanced::TokenUnusable => Err(AcceptError::TokenUnusable),
        }
    }

    /// Gives a payment up; one that is canceled already is answered as it stands.
    pub async fn cancel(&self, client: &ClientName, id: PaymentId) -> Result<Payment, AcceptError> {
        let advance = Advance {
            payment: id,
            client: Some(client.clone()),
            trigger: Trigger::Cancel,
            card: None,
            token: None,
            delay: Duration::ZERO,
            ids: RowIds::draw(),
        };
        match self.commands.advance(advance).await? {
            Advanced::Moved(payment, outbox) => {
                self.relay.hand_over(outbox);
                Ok(payment)
            }
            Advanced::Refused(Refusal::Canceled, payment) => Ok(payment),
            Advanced::Refused(refusal, _) => Err(refusal.into()),
            Advanced::AnotherAttempt(_) | Advanced::NotFound | Advanced::TokenUnusable => {
                Err(AcceptError::NotFound(id))
            }
        }
    }

    /// Keeps a card, sealed, for one payment of this client.
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
        let draft = |now: Timestamp| CardToken {
            id,
            client: client.clone(),
            card: card.summary(),
            sealed_card: Some(sealed),
            expires_at: now + TOKEN_LIFE,
            used_by: None,
        };
        let token = self.commands.add_token(draft).await?;
        Ok(IssuedToken {
            card_token: token.id.0,
            card: token.card,
            expires_at: token.expires_at,
        })
    }

    fn replay(&self, known: &StoredPayment, fingerprinted: &[u8]) -> Result<Accepted, AcceptError> {
        let same = known
            .idempotency
            .as_ref()
            .is_some_and(|idempotency| self.seal.matches(&idempotency.fingerprint, fingerprinted));
        if !same {
            return Err(AcceptError::KeyReused);
        }
        Ok(Accepted {
            payment: known.payment.clone(),
            replayed: true,
        })
    }

    async fn resolve(&self, submission: &Submission) -> Result<Resolved, AcceptError> {
        match submission.request.method.clone() {
            Some(method) => self.resolve_method(&submission.client, method).await,
            None => Ok(Resolved::default()),
        }
    }

    async fn resolve_method(
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
        if let Some(card) = self.processor.test_card(&token) {
            return Ok(Resolved {
                card: Some(card),
                token: None,
            });
        }
        let id = TokenId(token);
        let row = self.database.card_token(&id).await?;
        let row = row.filter(|row| row.client == *client && row.used_by.is_none());
        let row = row.ok_or(AcceptError::TokenUnusable)?;
        // The commit compares by the database's clock; here an erased card already tells that it is too late.
        let expired = row.expires_at <= time::OffsetDateTime::now_utc();
        let sealed = row
            .sealed_card
            .filter(|_| !expired)
            .ok_or(AcceptError::TokenExpired)?;
        let card = self
            .seal
            .open(&sealed, Owner::Token(&id.0, client))
            .map_err(|error| AcceptError::Seal(error.to_string()))?;
        Ok(Resolved {
            card: Some(card),
            token: Some(id),
        })
    }

    fn seal_card(
        &self,
        card: &Card,
        payment: PaymentId,
        attempt: u32,
    ) -> Result<PresentedCard, AcceptError> {
        let sealed = self
            .seal
            .seal(card, Owner::Payment(payment, attempt))
            .map_err(|error| AcceptError::Seal(error.to_string()))?;
        Ok(PresentedCard {
            summary: card.summary(),
            sealed,
        })
    }
}

fn presented_too_late(refusal: Refusal, payment: Payment) -> Result<Presented, AcceptError> {
    match refusal {
        Refusal::Canceled => Err(refusal.into()),
        Refusal::Stale | Refusal::Processing | Refusal::Succeeded => {
            Ok(Presented::AsItStands(payment))
        }
    }
}
