//! Canceling a payment.

use std::time::Duration;

use super::AcceptError;
use super::acceptor::{Acceptor, quarantined};
use super::advance::Advanced;
use super::apply::Advance;
use super::outcomes;
use super::row_ids::RowIds;
use crate::domain::{ClientName, Origin, Payment, PaymentId, Refusal, Trigger};

impl Acceptor {
    /// Cancels a payment that waits for a card; one that is already canceled is returned unchanged.
    pub(super) async fn cancel_open(
        &self,
        client: &ClientName,
        id: PaymentId,
        origin: &Origin,
    ) -> Result<Payment, AcceptError> {
        let advance = Advance {
            payment: id,
            client: Some(client.clone()),
            trigger: Trigger::Cancel,
            card: None,
            token: None,
            delay: Duration::ZERO,
            capture_within: Duration::ZERO,
            ids: RowIds::draw(),
        };
        let advancing = async { Ok(self.commands.advance(advance).await?) };
        match self.answered(advancing).await? {
            Advanced::Moved(payment) => {
                outcomes::of_payment(&payment, origin);
                Ok(payment)
            }
            Advanced::Refused(Refusal::Canceled, payment) => Ok(payment),
            Advanced::Refused(refusal, _) => Err(refusal.into()),
            Advanced::AnotherAttempt(_) | Advanced::NotFound | Advanced::TokenRefused(_) => {
                Err(AcceptError::NotFound(id))
            }
            Advanced::Quarantined(payment) => Err(quarantined(payment, client)),
        }
    }
}
