//! What is sent: every brand, several declines, REST and messages, and issuers that fail in every way.

/// One payment of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// The order that it pays.
    pub order_id: i64,
    /// Major units.
    pub amount: f64,
    /// The test card, by its token.
    pub token: &'static str,
    /// How it is sent.
    pub way: Way,
}

/// How a payment is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `POST /payments` with the card
    Rest,
    /// `POST /payments` with the card, sent twice under one `Idempotency-Key`
    RestRepeated,
    /// `POST /payments` without a card, then `POST /payments/{id}/process`
    TwoSteps,
    /// `POST /card-tokens`, then `POST /payments` with the token
    CardToken,
    /// The message `order.payment` with a test token
    Message,
}

impl Way {
    /// The label in the table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::RestRepeated => "REST, sent twice",
            Self::TwoSteps => "REST, two steps",
            Self::CardToken => "REST, card token",
            Self::Message => "order.payment",
        }
    }
}

/// All of them.
pub(super) fn all() -> Vec<Sent> {
    use Way::{CardToken, Message, Rest, RestRepeated, TwoSteps};
    let sent = |(number, (token, way)): (i64, (&'static str, Way))| Sent {
        order_id: 1000 + number,
        // Totals as a shop computes them in floats: 0.1 + 0.2 and the like.
        amount: 19.99 + 7.1 * number as f64,
        token,
        way,
    };
    let cards = [
        ("tok_visa", Rest),
        ("tok_mastercard", Message),
        ("tok_amex", CardToken),
        ("tok_discover", RestRepeated),
        ("tok_all_nines", TwoSteps),
        ("tok_insufficient_funds", Rest),
        ("tok_stolen_card", Message),
        ("tok_incorrect_cvc", TwoSteps),
        ("tok_issuer_slow", Rest),
        ("tok_issuer_down_2", Message),
        ("tok_answer_lost_once", Rest),
        ("tok_issuer_down", Message),
        ("tok_answer_lost", Rest),
        ("tok_issuer_silent", Message),
    ];
    (1..).zip(cards).map(sent).collect()
}
