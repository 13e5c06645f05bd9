//! Creating a payment, or returning the one that exists under its idempotency key.

use tracing::Instrument;

use super::accept::AcceptOutcome;
use super::acceptor::Acceptor;
use super::draft::NewPayment;
use super::methods::Resolved;
use super::row_ids::RowIds;
use super::{AcceptError, Accepted, Submission, WayIn, outcomes};
use crate::domain::PaymentStatus;
use crate::store::StoreError;
use crate::store::rows::{Idempotency, StoredPayment};

impl Acceptor {
    /// Accepts a payment, or returns the one that exists under its idempotency key.
    pub async fn accept(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let span = tracing::debug_span!("accept", payment.id = tracing::field::Empty);
        let accepting = self.accept_or_replay(submission).instrument(span.clone());
        let accepted = self.answered(accepting).await?;
        span.record("payment.id", accepted.payment.id.0);
        Ok(accepted)
    }

    async fn accept_or_replay(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let fingerprinted = submission.request.canonical();
        // The key is looked up before the token is touched and before an id is used.
        if let Some(known) = self.known(&submission).await? {
            return self.replay(&known, &fingerprinted);
        }
        if self.backlog.is_full() {
            return Err(AcceptError::BacklogFull);
        }
        match self.accept_new(&submission, &fingerprinted).await {
            // A duplicate may have created the payment since the first lookup, and used the token for it.
            Err(refusal) if refusal.is_about_the_card() => {
                match self.known_for_certain(&submission).await? {
                    Some(known) => self.replay(&known, &fingerprinted),
                    None => Err(refusal),
                }
            }
            accepted => accepted,
        }
    }

    /// The payment that exists under the request's idempotency key.
    async fn known(&self, submission: &Submission) -> Result<Option<StoredPayment>, StoreError> {
        match &submission.idempotency_key {
            Some(key) => self.database.payment_by_key(&submission.client, key).await,
            None => Ok(None),
        }
    }

    /// The same, although a fail-over may just have happened: the request would be refused for good.
    async fn known_for_certain(
        &self,
        submission: &Submission,
    ) -> Result<Option<StoredPayment>, StoreError> {
        let Some(key) = &submission.idempotency_key else {
            return Ok(None);
        };
        let client = &submission.client;
        self.database.payment_by_key_on_primary(client, key).await
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
            capture_method: submission.request.capture_method,
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
            AcceptOutcome::Accepted(payment) => {
                if payment.status == PaymentStatus::Processing {
                    outcomes::count_attempt(&payment);
                }
                Ok(Accepted {
                    payment: *payment,
                    replayed: false,
                })
            }
            AcceptOutcome::Existing(known) => self.replay(&known, fingerprinted),
            AcceptOutcome::TokenRefused(fault) => Err(fault.into()),
            AcceptOutcome::KeyOfOperation => Err(AcceptError::KeyReused),
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
}
