//! The one function that accepts a payment, and its neighbours: presenting a card, canceling.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::methods::Resolved;
use super::{AcceptError, Accepted, PaymentMethod, Presented, Submission, WayIn};
use crate::card_seal::{Owner, SealKeys};
use crate::domain::{Card, ClientName, Payment, PaymentId, Refusal, Trigger};
use crate::processor::Processor;
use crate::relay::Relay;
use crate::store::commands::{
    AcceptOutcome, Advance, Advanced, Commands, NewPayment, PresentedCard, RowIds,
};
use crate::store::quarantine::Quarantined;
use crate::store::rows::{Idempotency, StoredPayment, TokenId};
use crate::store::{Database, StoreError};

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
    /// Knows how much waits to be published.
    pub relay: Relay,
}

impl Acceptor {
    /// Accepts a payment, or answers with the one that its idempotency key made before.
    pub async fn accept(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let span = tracing::debug_span!("accept", payment.id = tracing::field::Empty);
        let accepting = self.accept_or_replay(submission).instrument(span.clone());
        let accepted = self.answered(accepting).await?;
        span.record("payment.id", accepted.payment.id.0);
        Ok(accepted)
    }

    /// Does what a client asks for as an item of the stage `accept`: a refusal is an answer, a store that fails is none.
    async fn answered<T>(
        &self,
        work: impl Future<Output = Result<T, AcceptError>>,
    ) -> Result<T, AcceptError> {
        let is_answer = |error: &AcceptError| match error {
            AcceptError::Store(error) => error.is_of_the_rows(),
            _ => true,
        };
        let accept = &self.commands.stages().accept;
        accept.watch_unless(is_answer, work).await
    }

    async fn accept_or_replay(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let fingerprinted = submission.request.canonical();
        // A key is looked up before its token is touched and before an id is spent.
        if let Some(known) = self.known(&submission).await? {
            return self.replay(&known, &fingerprinted);
        }
        if self.relay.backlog_is_full() {
            return Err(AcceptError::BacklogFull);
        }
        match self.accept_new(&submission, &fingerprinted).await {
            // A duplicate may have made the payment since the first look, and used the token up for it.
            Err(refusal) if refusal.is_about_the_card() => match self.known(&submission).await? {
                Some(known) => self.replay(&known, &fingerprinted),
                None => Err(refusal),
            },
            accepted => accepted,
        }
    }

    /// The payment that was made under the request's idempotency key.
    async fn known(&self, submission: &Submission) -> Result<Option<StoredPayment>, StoreError> {
        match &submission.idempotency_key {
            Some(key) => self.database.payment_by_key(&submission.client, key).await,
            None => Ok(None),
        }
    }

    async fn accept_new(
        &self,
        submission: &Submission,
        fingerprinted: &[u8],
    ) -> Result<Accepted, AcceptError> {
        let written = match self.resolve(submission).await {
            Ok(resolved) => self.write(submission, fingerprinted, resolved).await,
            Err(error) => Err(error),
        };
        match written {
            Err(AcceptError::TokenExpired) if submission.way_in == WayIn::Message => {
                let no_card = Resolved::default();
                self.write(submission, fingerprinted, no_card).await
            }
            written => written,
        }
    }

    async fn write(
        &self,
        submission: &Submission,
        fingerprinted: &[u8],
        resolved: Resolved,
    ) -> Result<Accepted, AcceptError> {
        let id = self.commands.next_payment_id().await?;
        let card = resolved
            .card
            .map(|card| self.seal_card(&card, id, 1))
            .transpose()?;
        let key = submission.idempotency_key.clone();
        let payment = NewPayment {
            id,
            order_id: submission.request.order_id,
            user_id: submission.request.user_id,
            amount: submission.request.amount,
            metadata: submission.request.metadata.clone(),
            return_url: submission.request.return_url.clone(),
            card,
            token: resolved.token,
            idempotency: key.map(|key| Idempotency {
                key,
                fingerprint: self.seal.fingerprint(fingerprinted),
            }),
            client: submission.client.clone(),
            origin: submission.origin.clone(),
            announce: submission.way_in == WayIn::Message,
            ids: RowIds::draw(),
        };
        match self.commands.accept(payment).await? {
            AcceptOutcome::Accepted(payment) => Ok(Accepted {
                payment: *payment,
                replayed: false,
            }),
            AcceptOutcome::Existing(known) => self.replay(&known, fingerprinted),
            AcceptOutcome::TokenRefused(fault) => Err(fault.into()),
        }
    }

    /// Presents a card for a payment that waits for one.
    pub async fn present_card(
        &self,
        client: &ClientName,
        id: PaymentId,
        method: PaymentMethod,
    ) -> Result<Presented, AcceptError> {
        let stored = self.stored(client, id).await?;
        self.present(stored, client, method).await
    }

    /// The same, for someone who saw the payment after so many attempts: if it has moved on since, the card is not used.
    pub async fn present_card_after(
        &self,
        attempt: u32,
        client: &ClientName,
        id: PaymentId,
        method: PaymentMethod,
    ) -> Result<Presented, AcceptError> {
        let stored = self.stored(client, id).await?;
        if stored.payment.attempt != attempt {
            return Ok(Presented::AsItStands(stored.payment));
        }
        self.present(stored, client, method).await
    }

    async fn stored(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<StoredPayment, AcceptError> {
        let stored = match self.database.payment(id).await {
            Err(StoreError::Quarantined(payment)) => return Err(quarantined(*payment, client)),
            stored => stored?,
        };
        stored
            .filter(|stored| stored.payment.client == *client)
            .ok_or(AcceptError::NotFound(id))
    }

    async fn present(
        &self,
        stored: StoredPayment,
        client: &ClientName,
        method: PaymentMethod,
    ) -> Result<Presented, AcceptError> {
        let id = stored.payment.id;
        if let Err(refusal) = crate::domain::next(stored.progress(), &Trigger::PresentCard) {
            return presented_too_late(refusal, stored.payment);
        }
        let token = match &method {
            PaymentMethod::Token(token) => Some(TokenId(token.clone())),
            PaymentMethod::Card(_) => None,
        };
        let resolved = match self.resolve_method(client, method).await {
            Err(refusal) if refusal.is_about_the_card() => {
                return self.presented_already(stored, token, refusal).await;
            }
            resolved => resolved?,
        };
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
        let advancing = async { Ok(self.commands.advance(advance).await?) };
        match self.answered(advancing).await? {
            Advanced::Moved(payment) => Ok(Presented::Started(payment)),
            // Another card was presented in the meantime: this one was not used.
            Advanced::AnotherAttempt(payment) => Ok(Presented::AsItStands(payment)),
            Advanced::Refused(refusal, payment) => presented_too_late(refusal, payment),
            Advanced::NotFound => Err(AcceptError::NotFound(id)),
            Advanced::TokenRefused(fault) => Err(fault.into()),
            Advanced::Quarantined(payment) => Err(quarantined(payment, client)),
        }
    }

    /// The card cannot be used. If that is because a duplicate of this request has presented it, or because another card
    /// was presented since the payment was read, the payment is answered as it stands.
    async fn presented_already(
        &self,
        seen: StoredPayment,
        token: Option<TokenId>,
        refusal: AcceptError,
    ) -> Result<Presented, AcceptError> {
        let id = seen.payment.id;
        let token = match token {
            Some(token) => self.database.card_token(&token).await?,
            None => None,
        };
        let used_for_this = token.is_some_and(|token| token.used_by == Some(id));
        let now = self.stored(&seen.payment.client, id).await?;
        if let Err(refusal) = crate::domain::next(now.progress(), &Trigger::PresentCard) {
            return presented_too_late(refusal, now.payment);
        }
        if used_for_this || now.payment.attempt > seen.payment.attempt {
            return Ok(Presented::AsItStands(now.payment));
        }
        Err(refusal)
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
        let advancing = async { Ok(self.commands.advance(advance).await?) };
        match self.answered(advancing).await? {
            Advanced::Moved(payment) => Ok(payment),
            Advanced::Refused(Refusal::Canceled, payment) => Ok(payment),
            Advanced::Refused(refusal, _) => Err(refusal.into()),
            Advanced::AnotherAttempt(_) | Advanced::NotFound | Advanced::TokenRefused(_) => {
                Err(AcceptError::NotFound(id))
            }
            Advanced::Quarantined(payment) => Err(quarantined(payment, client)),
        }
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

fn quarantined(payment: Quarantined, client: &ClientName) -> AcceptError {
    if payment.is_hidden_from(client) {
        return AcceptError::NotFound(payment.payment);
    }
    AcceptError::Store(payment.into())
}

fn presented_too_late(refusal: Refusal, payment: Payment) -> Result<Presented, AcceptError> {
    match refusal {
        Refusal::Canceled => Err(refusal.into()),
        Refusal::Stale | Refusal::Processing | Refusal::Succeeded => {
            Ok(Presented::AsItStands(payment))
        }
    }
}
