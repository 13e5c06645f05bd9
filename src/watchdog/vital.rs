//! Tasks that other code relies on without waiting for them. If one panics, its owner is notified and ends the process:
//! otherwise the task's work would wait for ever while health checks stay green.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::metric;

/// Whether a task, or one of several equal tasks, has panicked. Clones share it.
#[derive(Debug, Clone)]
pub struct Vital {
    name: &'static str,
    panicked: CancellationToken,
}

impl Vital {
    /// For a task that has not panicked.
    pub fn new(name: &'static str) -> Self {
        count_panics(name, 0);
        Self {
            name,
            panicked: CancellationToken::new(),
        }
    }

    /// Runs the task, and reports a panic.
    pub async fn watch(self, task: impl Future<Output = ()> + Send) {
        if caught(self.name, task).await.is_none() {
            self.panicked.cancel();
        }
    }

    /// The task's name, for logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the task has panicked.
    pub async fn panicked(&self) {
        self.panicked.cancelled().await;
    }
}

/// Runs work that may panic; returns none if it did. The data that it was changing must not be used any more. The panic's
/// message is not logged here: it may contain anything.
pub async fn caught<T>(name: &'static str, work: impl Future<Output = T> + Send) -> Option<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result
        .inspect_err(|_| {
            count_panics(name, 1);
            tracing::error!(task = name, "a panic; standard error says where");
        })
        .ok()
}

/// Counts panics of a task. With 0, `/metrics` shows the task before its first panic.
pub fn count_panics(task: &'static str, panics: u64) {
    metrics::counter!(metric::PANICS, "task" => task).increment(panics);
}
