//! How a delivery is settled at RabbitMQ.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::types::DeliveryTag;
use tokio::time::{Instant, sleep_until};

use crate::broker::Settle;

/// Settles a delivery in its own session; after that session it does nothing.
///
/// It writes on the channel rather than by lapin's acker, which starts a task for each and so may be overtaken by the
/// closing of the connection; and it only puts the frame into the connection's queue, which keeps its order: waiting
/// for it to be written would cost a change of threads, and proves nothing, since acknowledgements have no answer.
#[derive(Debug)]
pub(super) struct Settlement {
    /// Also keeps it open: closing it would give back what is unsettled.
    pub(super) channel: Arc<Channel>,
    pub(super) tag: DeliveryTag,
    pub(super) settled: Arc<LastSettled>,
}

/// When a delivery was last settled.
#[derive(Debug, Default)]
pub(super) struct LastSettled(Mutex<Option<Instant>>);

impl LastSettled {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Waits until the broker has had time to apply what was settled. It hands acknowledgements to a quorum queue some
    /// at a time (32 by default), and forgets those not yet handed over when their channel is closed: seen on 3.10,
    /// where a close at once after 100 acknowledgements brought up to 67 of the messages again. There is no question
    /// whose answer would tell.
    pub(super) async fn has_sunk_in(&self) {
        const TIME: Duration = Duration::from_millis(200);
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            sleep_until(last + TIME).await;
        }
    }
}

#[async_trait]
impl Settle for Settlement {
    async fn acknowledge(self: Box<Self>) {
        self.settled.note();
        let written = self.channel.basic_ack(self.tag, BasicAckOptions::default());
        let _ = written.now_or_never();
    }

    /// By `basic.reject`, which every version counts towards the delivery limit.
    async fn reject(self: Box<Self>) {
        self.settled.note();
        let options = BasicRejectOptions { requeue: true };
        let _ = self.channel.basic_reject(self.tag, options).now_or_never();
    }

    /// By `basic.nack`, which counts up to 4.2 (hence a limit of 20) and does not from 4.3.
    async fn give_back(self: Box<Self>) {
        self.settled.note();
        let options = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        let _ = self.channel.basic_nack(self.tag, options).now_or_never();
    }
}

/// What came without acknowledgement has nothing left to settle.
#[derive(Debug)]
pub(super) struct Settled;

#[async_trait]
impl Settle for Settled {
    async fn acknowledge(self: Box<Self>) {}
    async fn reject(self: Box<Self>) {}
    async fn give_back(self: Box<Self>) {}
}
