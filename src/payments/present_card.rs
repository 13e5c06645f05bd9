//! Presenting a card for a payment that waits for one.

use std::time::Duration;

use super::acceptor::{Acceptor, quarantined};
use super::advance::Advanced;
use super::apply::Advance;
use super::row_ids::RowIds;
use super::{AcceptError, Presented, outcomes};
use crate::domain::{ClientName, Payment, PaymentId, PaymentMethod, Refusal, Trigger};
use crate::store::rows::{StoredPayment, TokenId};

impl Acceptor {
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

    /// The same, for a caller that read the payment after the given number of attempts: if a new one has started since, the
    /// card is not used.
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
            PaymentMethod::Card(_) | PaymentMethod::Other(_) => None,
        };
        let amount = stored.payment.amount;
        let resolved = match self.resolve_method(client, method, amount).await {
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
            capture_within: Duration::ZERO,
            ids: RowIds::draw(),
        };
        let advancing = async { Ok(self.commands.advance(advance).await?) };
        match self.answered(advancing).await? {
            Advanced::Moved(payment) => {
                outcomes::count_attempt(&payment);
                Ok(Presented::Started(payment))
            }
            // Another card was presented in the meantime: this one was not used.
            Advanced::AnotherAttempt(payment) => Ok(Presented::AsItStands(payment)),
            Advanced::Refused(refusal, payment) => presented_too_late(refusal, payment),
            Advanced::NotFound => Err(AcceptError::NotFound(id)),
            Advanced::TokenRefused(fault) => Err(fault.into()),
            Advanced::Quarantined(payment) => Err(quarantined(payment, client)),
        }
    }

    /// The card cannot be used. If a duplicate of this request has presented it, or another card was presented since the
    /// payment was read, returns the payment unchanged.
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
        let client = &seen.payment.client;
        let now = self.stored_on_primary(client, id).await?;
        if let Err(refusal) = crate::domain::next(now.progress(), &Trigger::PresentCard) {
            return presented_too_late(refusal, now.payment);
        }
        if used_for_this || now.payment.attempt > seen.payment.attempt {
            return Ok(Presented::AsItStands(now.payment));
        }
        Err(refusal)
    }
}

fn presented_too_late(refusal: Refusal, payment: Payment) -> Result<Presented, AcceptError> {
    match refusal {
        Refusal::Canceled | Refusal::RequiresCapture | Refusal::NotAuthorized => {
            Err(refusal.into())
        }
        Refusal::Stale | Refusal::Processing | Refusal::Succeeded => {
            Ok(Presented::AsItStands(payment))
        }
    }
}
