//! The columns that describe a card, in `payments` and in `card_tokens`.

use sqlx::FromRow;

use crate::domain::{Brand, CardSummary, Expiration, Funding, Payment};
use crate::store::columns::Columns;
use crate::store::sql_values::SqlValue;

/// The columns that describe a card.
pub(super) struct CardRecord {
    pub(super) card_brand: Option<String>,
    card_last4: Option<String>,
    card_expiration: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for CardRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            card_brand: row.text_or_null("card_brand")?,
            card_last4: row.text_or_null("card_last4")?,
            card_expiration: row.text_or_null("card_expiration")?,
        })
    }
}

impl CardRecord {
    /// The card, if there is one; its funding is not in these columns.
    pub(super) fn summary(self) -> Result<Option<CardSummary>, ()> {
        match (self.card_brand, self.card_last4, self.card_expiration) {
            (None, None, None) => Ok(None),
            (Some(brand), Some(last4), Some(expiration)) => {
                let card = CardSummary {
                    brand: Brand::parse(&brand).ok_or(())?,
                    last4,
                    expiration: Expiration::parse(&expiration).map_err(|_| ())?,
                    funding: Funding::Unknown,
                    processor: None,
                };
                card.has_four_digits().then_some(Some(card)).ok_or(())
            }
            _ => Err(()),
        }
    }
}

impl Brand {
    /// The inverse of its `Display`.
    fn parse(text: &str) -> Option<Self> {
        [
            Self::Visa,
            Self::Mastercard,
            Self::Amex,
            Self::Discover,
            Self::Unknown,
        ]
        .into_iter()
        .find(|brand| brand.to_string() == text)
    }
}

pub(super) fn card(payment: &Payment) -> [SqlValue<'_>; 3] {
    let card = payment.card();
    [
        card.map(|card| card.brand.to_string()).into(),
        card.map(|card| card.last4.as_str()).into(),
        card.map(|card| card.expiration.to_string()).into(),
    ]
}
