//! Gauges of the whole process: whether it is ready, whether its servers can be used, and its connections.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::serve::StoreState;
use crate::broker::ConnectionState;
use crate::http::health::{Health, Readiness};
use crate::metric;
use crate::processors::named::Processors;
use crate::processors::simulated::SimulatedIssuer;
use crate::store::Store;

/// How often they are updated.
const EVERY: Duration = Duration::from_secs(1);

/// What they show.
pub(super) struct Gauges {
    pub health: Health,
    pub store: StoreState,
    pub broker: watch::Receiver<ConnectionState>,
    pub database: Store,
    /// Of a worker.
    pub processors: Option<Processors>,
}

impl Gauges {
    /// Updates them until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            self.update();
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    pub(super) fn update(&self) {
        let flag = |name, is_set| metrics::gauge!(name).set(f64::from(u8::from(is_set)));
        let is_ready = !matches!(self.health.ready(), Readiness::NotReady(_));
        flag(metric::READY, is_ready);
        flag(metric::DATABASE_UP, self.store.borrow().is_ok());
        let is_up = matches!(*self.broker.borrow(), ConnectionState::Up);
        flag(metric::BROKER_UP, is_up);
        if let Some(processors) = &self.processors {
            let up = |name: &str, is_up: bool| {
                let is_up = f64::from(u8::from(is_up));
                metrics::gauge!(metric::PROCESSOR_UP, "processor" => name.to_owned()).set(is_up);
            };
            up(SimulatedIssuer::NAME, true);
            for (name, fault) in processors.faults() {
                up(&name, fault.is_none());
            }
        }
        for pool in self.database.connections() {
            let connections = |state, number: usize| {
                metrics::gauge!(
                    metric::DATABASE_CONNECTIONS,
                    "pool" => pool.pool, "state" => state
                )
                .set(number as f64);
            };
            connections("in_use", pool.in_use);
            connections("idle", pool.idle);
            metrics::gauge!(metric::DATABASE_CONNECTIONS_MAX, "pool" => pool.pool)
                .set(pool.most as f64);
        }
    }
}
