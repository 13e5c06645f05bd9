//! An issuer in trouble: a burst of payments with cards that have it.

use super::Ground;
use crate::faults::cards::by_token;
use crate::faults::kind::Kind;
use crate::faults::notes::Way;

const BURST: usize = 20;
/// Each keeps a worker waiting for all of its tries.
const SILENT: usize = 6;

/// Returns their orders.
pub fn burst(ground: &Ground, kind: Kind) -> Vec<i64> {
    let tokens: &[&str] = match kind {
        Kind::IssuerSlow => &["tok_issuer_slow"],
        Kind::IssuerDown => &[
            "tok_issuer_down_1",
            "tok_issuer_down_2",
            "tok_issuer_down_3",
            "tok_issuer_down_4",
        ],
        Kind::AnswerLost => &[
            "tok_answer_lost_once",
            "tok_answer_lost",
            "tok_reversal_lost_2",
        ],
        Kind::WorkerHeldUp => &[
            "tok_later_calls_declined",
            "tok_later_calls_down",
            "tok_later_calls_silent",
        ],
        _ => &["tok_issuer_down", "tok_issuer_silent"],
    };
    let ways = [Way::Rest, Way::Message];
    let number = if kind == Kind::IssuerNeverReachable {
        SILENT
    } else {
        BURST
    };
    let cards = tokens.iter().cycle().take(number);
    let sent = cards.enumerate().map(|(number, token)| {
        let way = ways[(number / tokens.len()) % 2];
        ground.client.pay(way, by_token(token))
    });
    sent.collect()
}
