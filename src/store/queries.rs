//! Reads, each limited to one client's payments.

use super::rows::PaymentFilter;
use super::{Checked, OutboxDepth, Store, StoreError};
use crate::domain::{ClientName, Event, Operation, OperationId, OperationKind, Payment, PaymentId};

/// The reading half of the store.
#[derive(Clone)]
pub struct Queries {
    database: Store,
}

impl Queries {
    /// Reads from this database.
    pub fn new(database: Store) -> Self {
        Self { database }
    }

    /// One payment of the client.
    pub async fn payment(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<Option<Payment>, StoreError> {
        let found = match self.database.payment(id).await {
            Err(StoreError::Quarantined(payment)) if payment.is_hidden_from(client) => None,
            found => found?,
        };
        Ok(found
            .map(|stored| stored.payment)
            .filter(|payment| payment.client == *client))
    }

    /// A page of the client's payments.
    pub async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<Payment>, StoreError> {
        let found = self.database.payments(filter).await?;
        Ok(found.into_iter().map(|stored| stored.payment).collect())
    }

    /// The history of one payment of the client.
    pub async fn events(
        &self,
        client: &ClientName,
        id: PaymentId,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        match self.payment(client, id).await? {
            Some(_) => self.database.events(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The refunds of one payment of the client, the oldest first, at most `limit`.
    pub async fn refunds(
        &self,
        client: &ClientName,
        id: PaymentId,
        limit: u32,
    ) -> Result<Option<Vec<Operation>>, StoreError> {
        if self.payment(client, id).await?.is_none() {
            return Ok(None);
        }
        let kind = Some(OperationKind::Refund);
        let found = self.database.operations_of(id, kind, limit).await?;
        let refunds = found.into_iter().map(|row| row.operation);
        Ok(Some(refunds.collect()))
    }

    /// One refund of the client.
    pub async fn refund(
        &self,
        client: &ClientName,
        id: OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let found = self.database.operation(id).await?;
        let found = found.map(|row| row.operation);
        Ok(found.filter(|it| it.client == *client && it.kind == OperationKind::Refund))
    }

    /// How many rows wait in the outbox.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        self.database.outbox_depth().await
    }

    /// Whether the database answers and has this program's schema.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        self.database.check().await
    }
}
