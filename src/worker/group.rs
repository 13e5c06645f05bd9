//! Several tries in one message: each is worked on like a try of its own, and the message is settled with the last of
//! them.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::broker::{Delivery, Properties, Settle};

/// How the tries of a group were settled: the highest counts for the message.
const DONE: u8 = 0;
const GIVEN_BACK: u8 = 1;
const REJECTED: u8 = 2;

/// The settlement of a message whose tries are settled one by one.
#[derive(Debug)]
struct Group {
    settle: Mutex<Option<Box<dyn Settle>>>,
    unsettled: AtomicUsize,
    worst: AtomicU8,
}

/// The settlement of one of the tries.
#[derive(Debug)]
struct Part(Arc<Group>);

/// Splits a message into a delivery for each of its tries.
pub(super) fn split(message: Delivery, tries: usize) -> impl Iterator<Item = Delivery> {
    let Delivery {
        routing_key,
        redelivered,
        settle,
        ..
    } = message;
    let group = Arc::new(Group {
        settle: Mutex::new(Some(settle)),
        unsettled: AtomicUsize::new(tries),
        worst: AtomicU8::new(DONE),
    });
    let part = move |_| Delivery {
        routing_key: routing_key.clone(),
        properties: Properties::default(),
        body: Vec::new(),
        redelivered,
        settle: Box::new(Part(Arc::clone(&group))),
    };
    (0..tries).map(part)
}

impl Group {
    async fn settled(&self, how: u8) {
        self.worst.fetch_max(how, Ordering::AcqRel);
        if self.unsettled.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let settle = self.settle.lock();
        let settle = settle.unwrap_or_else(PoisonError::into_inner).take();
        let Some(settle) = settle else { return };
        match self.worst.load(Ordering::Acquire) {
            DONE => settle.acknowledge().await,
            GIVEN_BACK => settle.give_back().await,
            _ => settle.reject().await,
        }
    }
}

#[async_trait]
impl Settle for Part {
    async fn acknowledge(self: Box<Self>) {
        self.0.settled(DONE).await;
    }

    async fn reject(self: Box<Self>) {
        self.0.settled(REJECTED).await;
    }

    async fn give_back(self: Box<Self>) {
        self.0.settled(GIVEN_BACK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes how it is settled.
    #[derive(Debug)]
    struct Noted(Arc<Mutex<Vec<&'static str>>>);

    impl Noted {
        fn note(&self, how: &'static str) {
            self.0.lock().unwrap().push(how);
        }
    }

    #[async_trait]
    impl Settle for Noted {
        async fn acknowledge(self: Box<Self>) {
            self.note("acknowledged");
        }
        async fn reject(self: Box<Self>) {
            self.note("rejected");
        }
        async fn give_back(self: Box<Self>) {
            self.note("given back");
        }
    }

    async fn settled(how: [u8; 3]) -> Vec<&'static str> {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let message = Delivery {
            routing_key: "x".to_owned(),
            properties: Properties::default(),
            body: b"{}".to_vec(),
            redelivered: false,
            settle: Box::new(Noted(Arc::clone(&noted))),
        };
        let parts = split(message, 3);
        for (number, (part, how)) in parts.zip(how).enumerate() {
            assert!(
                noted.lock().unwrap().is_empty(),
                "before the last, {number}"
            );
            match how {
                DONE => part.settle.acknowledge().await,
                GIVEN_BACK => part.settle.give_back().await,
                _ => part.settle.reject().await,
            }
        }
        noted.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_message_is_settled_after_its_last_try_with_the_worst_result() {
        assert_eq!(settled([DONE, DONE, DONE]).await, ["acknowledged"]);
        assert_eq!(settled([GIVEN_BACK, DONE, DONE]).await, ["given back"]);
        let worst = settled([GIVEN_BACK, REJECTED, DONE]).await;
        assert_eq!(worst, ["rejected"]);
    }
}
