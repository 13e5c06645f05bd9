//! Stands in for the accepting side until it lands: the store is always busy.

use super::{AcceptError, Accepted, IssuedToken, PaymentMethod, Presented, Submission};
use crate::domain::{Card, ClientName, Payment, PaymentId};
use crate::store::StoreError;

/// Where both ways in meet.
#[derive(Debug)]
pub struct Acceptor;

impl Acceptor {
    /// Accepts a payment.
    pub async fn accept(&self, _submission: Submission) -> Result<Accepted, AcceptError> {
        Err(StoreError::Busy.into())
    }

    /// Presents a card.
    pub async fn present_card(
        &self,
        _client: &ClientName,
        _id: PaymentId,
        _method: PaymentMethod,
        _traceparent: Option<String>,
    ) -> Result<Presented, AcceptError> {
        Err(StoreError::Busy.into())
    }

    /// Cancels a payment.
    pub async fn cancel(
        &self,
        _client: &ClientName,
        _id: PaymentId,
    ) -> Result<Payment, AcceptError> {
        Err(StoreError::Busy.into())
    }

    /// Issues a card token.
    pub async fn issue_token(
        &self,
        _client: &ClientName,
        _card: Card,
    ) -> Result<IssuedToken, AcceptError> {
        Err(StoreError::Busy.into())
    }
}
