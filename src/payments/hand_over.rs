//! Messages whose outbox rows were just committed, on their way to the relay that publishes them ([`crate::relay`]).
//!
//! The task that commits rows hands them over itself, even if no caller waits for its outcome any more: a client that
//! disconnects must not delay its payment until the sweep. There is one bounded queue in memory for each [`Lane`].

use tokio::sync::mpsc;

use crate::broker::Lane;
use crate::metric;
use crate::payments::outgoing::Outgoing;

/// Maximum number of messages that wait in memory for their first publication.
const WAITING: usize = 16_384;

/// The sending side, for messages whose rows were just committed.
#[derive(Debug, Clone)]
pub struct HandOver {
    work: mpsc::Sender<Outgoing>,
    results: mpsc::Sender<Outgoing>,
    replies: mpsc::Sender<Outgoing>,
}

/// The receiving sides, one for each lane.
#[derive(Debug)]
pub struct HandedOver {
    /// Messages of [`Lane::Work`].
    pub work: mpsc::Receiver<Outgoing>,
    /// Messages of [`Lane::Results`].
    pub results: mpsc::Receiver<Outgoing>,
    /// Messages of [`Lane::Replies`].
    pub replies: mpsc::Receiver<Outgoing>,
}

/// Both sides of the queues.
pub fn hand_over() -> (HandOver, HandedOver) {
    let (work, work_lane) = mpsc::channel(WAITING);
    let (results, results_lane) = mpsc::channel(WAITING);
    let (replies, replies_lane) = mpsc::channel(WAITING);
    let hand_over = HandOver {
        work,
        results,
        replies,
    };
    let handed_over = HandedOver {
        work: work_lane,
        results: results_lane,
        replies: replies_lane,
    };
    (hand_over, handed_over)
}

impl HandOver {
    /// Takes messages whose rows are committed. The sweep publishes those that do not fit.
    pub fn messages(&self, messages: impl IntoIterator<Item = Outgoing>) {
        for message in messages {
            let lane = match message.publication.lane() {
                Lane::Work => &self.work,
                Lane::Results => &self.results,
                Lane::Replies => &self.replies,
            };
            if lane.try_send(message).is_err() {
                metrics::counter!(metric::RELAY_LEFT_TO_SWEEP).increment(1);
            }
        }
    }
}
