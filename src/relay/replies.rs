//! Replies go to queues that clients name, so a reply may break its connection, or may never be confirmed.
//!
//! Three rules protect other clients' replies from that. If the broker closes the connection, the unconfirmed replies on
//! it are published again on separate connections, by halves, until the one that caused it is found. An address that does
//! not confirm is published to separately from the others, and then not at all for a while. A reply that cannot be
//! delivered is set aside as a dead letter: at once if the broker closes the connection because of it, otherwise after
//! [`PATIENCE`]. Its payment continues as if the reply had been published.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use time::OffsetDateTime;

use super::publisher::{Outcome, Publisher};
use super::reply_addresses::{Addresses, Trouble};
use crate::broker::PublishError;
use crate::metric;
use crate::payments::outgoing::Outgoing;
use crate::store::rows::OutboxId;
use crate::wire::dead_letter;

/// How long to retry a reply that its queue does not accept.
const PATIENCE: Duration = Duration::from_mins(10);
/// The reason given for a reply that was never confirmed.
const SILENT: &str = "its queue does not confirm messages";

/// The outcomes of some replies.
#[derive(Default)]
struct Sorted {
    confirmed: Vec<OutboxId>,
    /// The broker closed the connection, perhaps because of one of these.
    closed: Vec<Outgoing>,
    /// The broker's reason.
    words: String,
    unconfirmed: Vec<Outgoing>,
    /// To be set aside, with the reason.
    hopeless: Vec<(Outgoing, String)>,
}

impl Publisher {
    /// Publishes replies, deletes or sets aside those that are finished, and returns how many those are. The rest is left
    /// to the sweep.
    pub(super) async fn reply(&self, rows: Vec<Outgoing>) -> usize {
        let (mut now, mut apart, mut hopeless) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match self.addresses.trouble(&row) {
                None => now.push(row),
                Some(Trouble::Slow) => apart.push(row),
                Some(Trouble::Silent) if age(&row) <= PATIENCE => {}
                Some(Trouble::Silent) => hopeless.push((row, SILENT.to_owned())),
                Some(Trouble::Closes(words)) => hopeless.push((row, words)),
            }
        }
        let sorted = sort(self.attempt(now).await, &self.addresses);
        // Many of them were only published together with the one that was not confirmed.
        apart.extend(sorted.unconfirmed.iter().cloned());
        self.reply_apart(apart);
        for row in sorted.unconfirmed.iter().chain(&sorted.closed) {
            self.addresses.note(row, Trouble::Slow);
        }
        hopeless.extend(sorted.hopeless);
        let done = sorted.confirmed.len() + self.isolate_replies(sorted.closed).await;
        self.forget(sorted.confirmed).await;
        done + self.bury(hopeless).await
    }

    /// In a separate task: it may take as long as the broker's time-out for confirms.
    fn reply_apart(&self, rows: Vec<Outgoing>) {
        let Ok(permit) = Arc::clone(&self.addresses.apart).try_acquire_owned() else {
            return;
        };
        if rows.is_empty() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut sorted = sort(this.attempt_alone(rows).await, &this.addresses);
            for row in sorted.unconfirmed {
                this.addresses.note(&row, Trouble::Silent);
                if age(&row) > PATIENCE {
                    sorted.hopeless.push((row, SILENT.to_owned()));
                }
            }
            this.forget(sorted.confirmed).await;
            this.bury(sorted.hopeless).await;
            this.isolate_replies(sorted.closed).await;
            drop(permit);
        });
    }

    /// Finds the replies that make the broker close the connection: by halves, and the last one twice, since a connection
    /// can also be closed for another reason.
    async fn isolate_replies(&self, closed: Vec<Outgoing>) -> usize {
        let mut done = 0;
        let mut suspects = vec![(closed, false)];
        while let Some((rows, again)) = suspects.pop() {
            if rows.is_empty() {
                continue;
            }
            let alone = rows.len() == 1;
            let Sorted {
                confirmed,
                mut closed,
                words,
                mut hopeless,
                ..
            } = sort(self.attempt_alone(rows).await, &self.addresses);
            if alone && again {
                hopeless.extend(closed.pop().map(|row| {
                    self.addresses.note(&row, Trouble::Closes(words.clone()));
                    (row, words)
                }));
            }
            done += confirmed.len();
            self.forget(confirmed).await;
            // There may be others to the same address.
            let closes = |row: &mut Outgoing| match self.addresses.trouble(row) {
                Some(Trouble::Closes(words)) => Some(words),
                _ => None,
            };
            for (suspects, _) in &mut suspects {
                for mut row in suspects.extract_if(.., |row| closes(row).is_some()) {
                    let words = closes(&mut row).unwrap_or_default();
                    hopeless.push((row, words));
                }
            }
            done += self.bury(hopeless).await;
            let half = closed.split_off(closed.len() / 2);
            suspects.extend([(half, alone), (closed, alone)]);
        }
        done
    }

    /// Replaces replies by dead letters, each in one transaction, and returns how many were replaced.
    async fn bury(&self, hopeless: Vec<(Outgoing, String)>) -> usize {
        let burying = hopeless.into_iter().map(|(row, error)| {
            metrics::counter!(metric::REPLIES_SET_ASIDE).increment(1);
            tracing::warn!(
                payment.id = row.payment.map(|id| id.0),
                error,
                "a reply could not be delivered and was set aside as a dead letter"
            );
            let letter = dead_letter::unanswerable(&error, &row.publication, row.id.0);
            self.commands.replace(row.id, letter)
        });
        let mut done = 0;
        for buried in join_all(burying).await {
            match buried {
                Ok(()) => {
                    done += 1;
                    metrics::counter!(metric::DEAD_LETTERS, "reason" => dead_letter::UNDELIVERABLE)
                        .increment(1);
                }
                Err(error) => {
                    tracing::warn!(%error, "a reply could not be set aside: the sweep will try again");
                }
            }
        }
        done
    }

    async fn attempt_alone(&self, rows: Vec<Outgoing>) -> Vec<Outcome> {
        let publications: Vec<_> = rows.iter().map(|row| row.publication.clone()).collect();
        let entered = self.stages.enter(&publications);
        let results = self.broker.publish_alone(&publications).await;
        self.stages.leave(entered, &publications, &results);
        rows.into_iter().zip(results).collect()
    }
}

/// Sorts replies by their outcome. A reply refused by a full queue is retried until it is too old.
fn sort(outcomes: Vec<Outcome>, addresses: &Addresses) -> Sorted {
    let mut sorted = Sorted::default();
    for (row, outcome) in outcomes {
        match outcome {
            Ok(()) => {
                addresses.forget(&row);
                sorted.confirmed.push(row.id);
            }
            Err(PublishError::Closed(words)) => {
                sorted.words = words;
                sorted.closed.push(row);
            }
            Err(PublishError::NotConfirmed) => sorted.unconfirmed.push(row),
            Err(PublishError::NotConnected) => {}
            Err(error) if age(&row) > PATIENCE => sorted.hopeless.push((row, error.to_string())),
            Err(_) => {}
        }
    }
    sorted
}

/// The time since its row was created, by this process's clock.
fn age(row: &Outgoing) -> Duration {
    let made = row.id.0.get_timestamp().map(|made| made.to_unix().0);
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    Duration::from_secs(now.saturating_sub(made.unwrap_or(now)))
}
