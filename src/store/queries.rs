//! Stands in for the reading side until it lands: the store is always busy.

use super::StoreError;
use super::rows::PaymentFilter;
use crate::domain::{ClientName, Event, Payment, PaymentId};

/// Reads.
#[derive(Debug, Clone)]
pub struct Queries;

impl Queries {
    /// One payment.
    pub async fn payment(
        &self,
        _client: &ClientName,
        _id: PaymentId,
    ) -> Result<Option<Payment>, StoreError> {
        Err(StoreError::Busy)
    }

    /// A page of payments.
    pub async fn payments(&self, _filter: &PaymentFilter) -> Result<Vec<Payment>, StoreError> {
        Err(StoreError::Busy)
    }

    /// A history.
    pub async fn events(
        &self,
        _client: &ClientName,
        _id: PaymentId,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        Err(StoreError::Busy)
    }
}
