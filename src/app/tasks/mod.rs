//! The tasks of a process: those that take work end first, the others run until no work is left.

use std::future::Future;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppError;
use crate::watchdog::vital::{Vital, caught, count_panics};

/// Running tasks.
pub(super) struct Tasks {
    /// Tasks that take work; they end first.
    taking: TaskTracker,
    /// Tasks that run until no work is left.
    background: TaskTracker,
    failed: mpsc::UnboundedSender<AppError>,
    failures: mpsc::UnboundedReceiver<AppError>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let (failed, failures) = mpsc::unbounded_channel();
        Self {
            taking: TaskTracker::new(),
            background: TaskTracker::new(),
            failed,
            failures,
        }
    }

    /// Starts a task that takes work.
    pub(super) fn take(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(&self.taking, name, task);
    }

    /// Starts a task that others need until they have finished.
    pub(super) fn keep(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(&self.background, name, task);
    }

    /// Starts a watch that returns the reason to end the process, if there is one. A panic counts as a reason.
    pub(super) fn watch(&self, watch: impl Future<Output = Option<AppError>> + Send + 'static) {
        let failed = self.failed.clone();
        self.background.spawn(async move {
            let seen = caught("watch", watch).await;
            if let Some(error) = seen.unwrap_or(Some(AppError::TaskEnded("watch"))) {
                let _ = failed.send(error);
            }
        });
    }

    /// Ends the process if a task that others rely on panics.
    pub(super) fn watch_vital(&self, vital: Vital, stop: CancellationToken) {
        self.watch(async move {
            tokio::select! {
                () = vital.panicked() => Some(AppError::TaskEnded(vital.name())),
                () = stop.cancelled() => None,
            }
        });
    }

    /// The next reason to end the process.
    pub(super) async fn failure(&mut self) -> Option<AppError> {
        self.failures.recv().await
    }

    /// Waits for the tasks that take work.
    pub(super) async fn taking_ended(&self) {
        self.taking.close();
        self.taking.wait().await;
    }

    /// Waits for all other tasks.
    pub(super) async fn background_ended(&self) {
        self.background.close();
        self.background.wait().await;
    }

    /// If a task ends before it was told to, by a panic or otherwise, the process ends.
    fn start(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        count_panics(name, 0);
        let running = tokio::spawn(task);
        let failed = self.failed.clone();
        tracker.spawn(async move {
            if let Err(error) = running.await {
                count_panics(name, 1);
                tracing::error!(task = name, %error, "a task has panicked");
            }
            // After a stop nothing reads this any more.
            let _ = failed.send(AppError::TaskEnded(name));
        });
    }
}

#[cfg(test)]
mod tests;
