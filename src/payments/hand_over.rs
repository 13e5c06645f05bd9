//! Outbox rows that were just committed, on their way to the relay that publishes them ([`crate::relay`]).
//!
//! The task that commits rows hands them over itself, even if no caller waits for its outcome any more: a client that
//! disconnects must not delay its payment until the sweep. There is one bounded queue in memory for each [`Lane`].

use tokio::sync::mpsc;

use crate::broker::Lane;
use crate::store::rows::OutboxRow;

/// Maximum number of rows that wait in memory for their first publication.
const WAITING: usize = 16_384;

/// The sending side, for rows that were just committed.
#[derive(Debug, Clone)]
pub struct HandOver {
    work: mpsc::Sender<OutboxRow>,
    results: mpsc::Sender<OutboxRow>,
    replies: mpsc::Sender<OutboxRow>,
}

/// The receiving sides, one for each lane.
#[derive(Debug)]
pub struct HandedOver {
    /// Rows of [`Lane::Work`].
    pub work: mpsc::Receiver<OutboxRow>,
    /// Rows of [`Lane::Results`].
    pub results: mpsc::Receiver<OutboxRow>,
    /// Rows of [`Lane::Replies`].
    pub replies: mpsc::Receiver<OutboxRow>,
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
    /// Takes committed rows. The sweep publishes those that do not fit.
    pub fn rows(&self, rows: impl IntoIterator<Item = OutboxRow>) {
        for row in rows {
            let lane = match row.publication.lane() {
                Lane::Work => &self.work,
                Lane::Results => &self.results,
                Lane::Replies => &self.replies,
            };
            if lane.try_send(row).is_err() {
                metrics::counter!("relay_left_to_sweep").increment(1);
            }
        }
    }
}
