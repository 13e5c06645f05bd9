//! The point in the traffic at which a connection is cut.

use tokio::sync::oneshot;

/// Who sends the bytes that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What is done with the bytes that were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// They never arrive.
    Withhold,
    /// They arrive, are answered, and the answer never arrives.
    WithholdAnswer,
}

/// Bytes to look for, and what to do with them before the connection is reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub(super) side: Side,
    pub(super) pattern: Vec<u8>,
    pub(super) then: Then,
}

impl Trigger {
    /// The client's next bytes that hold these do not arrive.
    pub fn client_says(pattern: &[u8]) -> Self {
        Self::new(Side::Client, pattern, Then::Withhold)
    }

    /// The server's next bytes that hold these do not arrive.
    pub fn server_says(pattern: &[u8]) -> Self {
        Self::new(Side::Server, pattern, Then::Withhold)
    }

    /// The client's next bytes that hold these arrive, and the answer does not.
    pub fn client_is_not_answered(pattern: &[u8]) -> Self {
        Self::new(Side::Client, pattern, Then::WithholdAnswer)
    }

    /// MySQL: the client's next COMMIT does not arrive.
    pub fn commit_not_delivered() -> Self {
        Self::client_says(COMMIT)
    }

    /// MySQL: the client's next COMMIT is executed, and its answer is lost.
    pub fn commit_not_answered() -> Self {
        Self::new(Side::Client, COMMIT, Then::WithholdAnswer)
    }

    /// AMQP: the broker's next confirm (`basic.ack`) does not arrive.
    pub fn confirm_not_delivered() -> Self {
        Self::server_says(BASIC_ACK)
    }

    fn new(side: Side, pattern: &[u8], then: Then) -> Self {
        let pattern = pattern.to_vec();
        Self {
            side,
            pattern,
            then,
        }
    }
}

/// A packet of 7 bytes, the first of its exchange: COM_QUERY (3) and its text.
const COMMIT: &[u8] = b"\x07\0\0\0\x03COMMIT";

/// A method frame's length of 13 bytes, class 60 and method 80; behind it the delivery tag and whether all before it.
const BASIC_ACK: &[u8] = &[0, 0, 0, 13, 0, 60, 0, 80];

/// Signals that a trigger has fired.
#[derive(Debug)]
pub struct Tripped(oneshot::Receiver<()>);

impl Tripped {
    pub(super) fn new(tripped: oneshot::Receiver<()>) -> Self {
        Self(tripped)
    }

    /// Waits until the connection is cut; false if the trigger was replaced before.
    pub async fn wait(self) -> bool {
        self.0.await.is_ok()
    }
}

/// Looks for a pattern in a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The end of what came before: one byte less than the pattern.
    tail: Vec<u8>,
}

impl Search {
    /// Whether the pattern ends within this piece. A pattern may begin before it was asked for.
    pub(super) fn finds(&mut self, pattern: &[u8], piece: &[u8]) -> bool {
        let mut text = std::mem::take(&mut self.tail);
        let keep = pattern.len().saturating_sub(1);
        text.drain(..text.len().saturating_sub(keep));
        text.extend_from_slice(piece);
        let found = text.windows(pattern.len()).any(|window| window == pattern);
        self.note(&text);
        found
    }

    /// Remembers the end of a piece that nothing was looked for in.
    pub(super) fn note(&mut self, piece: &[u8]) {
        /// Longer than any pattern.
        const LONGEST: usize = 64;
        self.tail.extend_from_slice(piece);
        let more = self.tail.len().saturating_sub(LONGEST);
        self.tail.drain(..more);
    }
}
