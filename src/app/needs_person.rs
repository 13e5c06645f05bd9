//! Counts, twice a minute, what needs a person, for the gauge that raises an alert.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metric;
use crate::payments::needs_person;
use crate::processors::named::Processors;
use crate::store::Store;

/// How often.
const EVERY: Duration = Duration::from_secs(30);

/// Counts until `stop`. While the database gives no answer the gauge keeps its value: others tell of that.
pub(super) async fn count_cases(
    (database, processors): (Store, Processors),
    stop: CancellationToken,
) {
    let mut times = interval(EVERY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = times.tick() => {}
            () = stop.cancelled() => return,
        }
        match needs_person::find(&database, &processors).await {
            Ok(cases) => metrics::gauge!(metric::NEEDS_PERSON).set(cases.len() as f64),
            Err(error) => tracing::debug!(%error, "what needs a person cannot be counted"),
        }
    }
}
