//! Tasks that others rely on without waiting for them. If one panics, its owner learns of it and ends the process: what is
//! left of the task's work would otherwise wait for ever behind health checks that stay green.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

/// Whether a task, or one of several that do the same, has panicked. Clones share it.
#[derive(Debug, Clone)]
pub struct Vital {
    name: &'static str,
    panicked: CancellationToken,
}

impl Vital {
    /// Of a task that has not panicked.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            panicked: CancellationToken::new(),
        }
    }

    /// Runs the task, and tells if it panics.
    pub async fn watch(self, task: impl Future<Output = ()> + Send) {
        if caught(self.name, task).await.is_none() {
            self.panicked.cancel();
        }
    }

    /// For logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the task has panicked.
    pub async fn panicked(&self) {
        self.panicked.cancelled().await;
    }
}

/// Runs something that may panic; none if it did. What it was working on must not be used any more. The panic's own
/// message is not logged here: it may hold anything.
pub async fn caught<T>(name: &'static str, work: impl Future<Output = T> + Send) -> Option<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result
        .inspect_err(|_| {
            metrics::counter!("panics", "task" => name).increment(1);
            tracing::error!(task = name, "a panic; standard error says where");
        })
        .ok()
}
