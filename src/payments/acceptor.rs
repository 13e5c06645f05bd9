//! What the use cases of clients share: the store, the keys, and the check that a payment belongs to its client.

use std::sync::Arc;

use super::AcceptError;
use super::backlog::Backlog;
use super::commands::Commands;
use super::presented_card::{Chosen, Clear, PresentedCard};
use crate::clients::Clients;
use crate::domain::{ClientName, Currency, MethodSummary, PaymentId};
use crate::processors::named::Processors;
use crate::processors::simulated::TestTokens;
use crate::store::quarantine::Quarantined;
use crate::store::rows::StoredPayment;
use crate::store::{Store, StoreError};
use crate::vault::{Owner, SealKeys};

/// Handles the requests of clients, by REST and by message. Each use case has its own file in this folder.
pub struct Acceptor {
    /// Writes to the store.
    pub commands: Commands,
    /// Reads keys and tokens.
    pub database: Store,
    /// Seals cards and keys fingerprints.
    pub seal: Arc<SealKeys>,
    /// The reusable test tokens, where cards are simulated.
    pub test_tokens: Option<TestTokens>,
    /// Whether shoppers can come back from the page of a platform. Methods that send them there are refused otherwise.
    pub has_public_url: bool,
    /// Whether shoppers can approve payments here: `PUBLIC_URL` is set, and the issuer can note what they do. Methods that need
    /// them are refused otherwise.
    pub reaches_shoppers: bool,
    /// Know which amounts they take.
    pub processors: Processors,
    /// Knows which payment methods and cards each client may use.
    pub clients: Clients,
    /// Knows how many rows wait to be published.
    pub backlog: Backlog,
}

impl Acceptor {
    /// Runs a client's request as an item of the stage `accept`. A refusal counts as an answer, a failure of the store does
    /// not.
    pub(super) async fn answered<T>(
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

    pub(super) async fn stored(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<StoredPayment, AcceptError> {
        let found = self.database.payment(id).await;
        of_client(found, client, id)
    }

    /// The same, although a fail-over may just have happened: something is about to be refused for good.
    pub(super) async fn stored_on_primary(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<StoredPayment, AcceptError> {
        let found = self.database.payment_on_primary(id).await;
        of_client(found, client, id)
    }

    /// The currency of a client's payment.
    pub async fn currency(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<Currency, AcceptError> {
        let stored = self.stored(client, id).await?;
        Ok(stored.payment.amount.currency())
    }

    pub(super) fn seal_card(
        &self,
        chosen: &Chosen,
        payment: PaymentId,
        attempt: u32,
    ) -> Result<PresentedCard, AcceptError> {
        let owner = Owner::Payment(payment, attempt);
        let (sealed, summary): (_, MethodSummary) = match &chosen.method {
            Clear::Card(card) => (self.seal.seal(card, owner), card.summary().into()),
            Clear::Other(other) => (
                self.seal.seal_other(other, owner),
                MethodSummary::Other(other.summary().clone()),
            ),
        };
        let sealed = sealed.map_err(|error| AcceptError::Seal(error.to_string()))?;
        let summary = match &chosen.processor {
            Some(processor) => summary.at(Some(processor.clone())),
            None => summary,
        };
        Ok(PresentedCard { summary, sealed })
    }
}

fn of_client(
    found: Result<Option<StoredPayment>, StoreError>,
    client: &ClientName,
    id: PaymentId,
) -> Result<StoredPayment, AcceptError> {
    let stored = match found {
        Err(StoreError::Quarantined(payment)) => return Err(quarantined(*payment, client)),
        stored => stored?,
    };
    stored
        .filter(|stored| stored.payment.client == *client)
        .ok_or(AcceptError::NotFound(id))
}

pub(super) fn quarantined(payment: Quarantined, client: &ClientName) -> AcceptError {
    if payment.is_hidden_from(client) {
        return AcceptError::NotFound(payment.payment);
    }
    AcceptError::Store(payment.into())
}
