//! Tries that wait at the same time travel together: a message costs the broker about the same, whatever is in it.
//!
//! A group is always full, so that a worker's prefetch, which counts messages, means a known number of tries. While nobody
//! consumes the queue of groups, because all workers are of a release without groups, every try travels alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::broker::{Broker, Publication, Queue};
use crate::wire::work::{WorkGroup, WorkMessage};

/// Which tries travel together.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    tries: usize,
    consumed: Arc<AtomicBool>,
}

/// What is published for some messages.
pub(super) struct Grouped {
    /// Groups, and then the messages that travel alone.
    pub messages: Vec<Publication>,
    /// How many of them are groups.
    pub groups: usize,
    /// For each of the original messages, the index of the one that carries it.
    pub carriers: Vec<usize>,
}

impl Groups {
    /// So many tries in each.
    pub(super) fn of(tries: usize) -> Self {
        Self {
            tries,
            consumed: Arc::default(),
        }
    }

    /// Looks whether a worker takes groups.
    pub(super) async fn look(&self, broker: &dyn Broker) {
        if self.tries > 1 {
            let consumed = broker.is_consumed(Queue::WorkGroups).await;
            self.consumed.store(consumed, Ordering::Relaxed);
        }
    }

    /// Puts tries together; none if nothing travels together.
    pub(super) fn put_together(&self, all: &[Publication]) -> Option<Grouped> {
        if all.len() < self.tries || self.tries < 2 || !self.consumed.load(Ordering::Relaxed) {
            return None;
        }
        let tries = (0..all.len()).filter(|index| WorkMessage::is_in(&all[*index]));
        let tries: Vec<usize> = tries.collect();
        let mut grouped = Grouped {
            messages: Vec::new(),
            groups: 0,
            carriers: vec![usize::MAX; all.len()],
        };
        for members in tries.chunks_exact(self.tries) {
            let together: Vec<&Publication> = members.iter().map(|index| &all[*index]).collect();
            let Some(group) = WorkGroup::publication(&together) else {
                continue;
            };
            for index in members {
                grouped.carriers[*index] = grouped.messages.len();
            }
            grouped.messages.push(group);
        }
        grouped.groups = grouped.messages.len();
        for (message, carrier) in all.iter().zip(&mut grouped.carriers) {
            if *carrier == usize::MAX {
                *carrier = grouped.messages.len();
                grouped.messages.push(message.clone());
            }
        }
        Some(grouped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Exchange, Properties};
    use crate::domain::{ClientName, PaymentId};

    fn work(id: i64) -> Publication {
        let work = WorkMessage {
            payment_id: PaymentId(id),
            attempt: 1,
            try_number: 1,
        };
        let client = ClientName::parse("store").expect("a name");
        work.postponed_publication(&client, Some("00-1-2-01"), u32::from(id == 3))
    }

    fn result() -> Publication {
        Publication {
            exchange: Exchange::Results,
            routing_key: "payment.succeeded.store".to_owned(),
            properties: Properties::default(),
            body: String::new(),
            mandatory: false,
        }
    }

    #[test]
    fn full_groups_travel_together_and_the_rest_alone() {
        let groups = Groups::of(2);
        let all = [work(1), result(), work(2), work(3), work(4), work(5)];
        assert!(groups.put_together(&all).is_none(), "nobody takes groups");
        groups.consumed.store(true, Ordering::Relaxed);
        let Grouped {
            messages, carriers, ..
        } = groups.put_together(&all).expect("groups");
        assert_eq!(carriers, [0, 2, 0, 1, 1, 3]);
        assert_eq!(&messages[2..], [result(), work(5)]);
        let group = WorkGroup::parse(messages[1].body.as_bytes()).expect("a group");
        let ids = group.tries.iter().map(|it| it.work.payment_id.0);
        assert_eq!(ids.collect::<Vec<_>>(), [3, 4]);
        assert_eq!(group.tries[0].postponed, 1);
        let client = group.tries[0].client();
        assert_eq!(client.expect("a client").as_str(), "store");
        assert_eq!(group.tries[0].traceparent.as_deref(), Some("00-1-2-01"));
        assert!(groups.put_together(&all[..1]).is_none());
        assert!(Groups::of(1).put_together(&all).is_none());
    }
}
