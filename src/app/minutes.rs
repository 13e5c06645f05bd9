//! Writes what this process has counted to the database, once a minute, for the charts of the operators' page.
//!
//! The counts are read from the process's own metrics, so payments do nothing for the charts, and charts and metrics agree.
//! Counts that cannot be written are written with those of a later minute.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::RenderMetrics;
use crate::metric::{PAYMENT_OUTCOME_SECONDS, PAYMENT_OUTCOMES};
use crate::payments::outcomes::NONE;
use crate::store::{MinuteCounts, Store};

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Writes until `stop`, and then once more.
pub(super) async fn write_minutes(render: RenderMetrics, database: Store, stop: CancellationToken) {
    let mut written = Totals::default();
    let mut is_failing = false;
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = minutes.tick() => false,
            () = stop.cancelled() => true,
        };
        let totals = Totals::read(&render());
        let counts = totals.since(&written);
        if !counts.is_empty() {
            match database.write_minute(&counts).await {
                Ok(()) => {
                    written = totals;
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the counts for the charts are written again");
                    }
                }
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "the counts for the charts cannot be written; trying again every minute");
                }
                Err(_) => {}
            }
        }
        if last {
            return;
        }
    }
}

/// What the process has counted since its start. Buckets contain only their own payments.
#[derive(Debug, Default)]
struct Totals(MinuteCounts);

impl Totals {
    fn read(metrics: &str) -> Self {
        let mut totals = MinuteCounts::default();
        let mut below = 0;
        let bucket_name = format!("{PAYMENT_OUTCOME_SECONDS}_bucket");
        for line in metrics.lines() {
            let Some(series) = Series::parse(line) else {
                continue;
            };
            if series.name == PAYMENT_OUTCOMES {
                let Some(status) = series.label("status") else {
                    continue;
                };
                *totals.outcomes.entry(status.to_owned()).or_default() += series.value;
                if let Some(code) = series.label("decline_code").filter(|code| *code != NONE) {
                    *totals.codes.entry(code.to_owned()).or_default() += series.value;
                }
            } else if series.name == bucket_name
                && let Some(limit) = series.label("le")
            {
                // A line counts all payments up to its limit, and the limits ascend.
                let own = series.value.saturating_sub(below);
                totals.seconds.insert(limit.to_owned(), own);
                below = series.value;
            }
        }
        Self(totals)
    }

    /// What was counted after an earlier time, without what was not.
    fn since(&self, earlier: &Self) -> MinuteCounts {
        let difference = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let grown = now.iter().map(|(name, count)| {
                let before = before.get(name).copied().unwrap_or_default();
                (name.clone(), count.saturating_sub(before))
            });
            grown.filter(|(_, count)| *count > 0).collect()
        };
        MinuteCounts {
            outcomes: difference(&self.0.outcomes, &earlier.0.outcomes),
            codes: difference(&self.0.codes, &earlier.0.codes),
            seconds: difference(&self.0.seconds, &earlier.0.seconds),
        }
    }
}

/// A line of Prometheus' text format: `name{label="value",…} number`.
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    value: u64,
}

impl<'a> Series<'a> {
    /// None for comments, and for lines whose value is not a whole number.
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{')?;
        let labels = labels.strip_suffix('}')?;
        let value = value.parse().ok()?;
        (!name.starts_with('#')).then_some(Self {
            name,
            labels,
            value,
        })
    }

    /// The labels that are read here have no value with a quote or a comma.
    fn label(&self, name: &str) -> Option<&'a str> {
        let mut labels = self.labels.split(',');
        labels.find_map(|label| {
            let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
            value.strip_suffix('"')
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = r#"
# HELP payment_service_payment_outcomes_total Recorded outcomes.
payment_service_payment_outcomes_total{status="succeeded",payment_method="card",decline_code="none",client="a"} 5
payment_service_payment_outcomes_total{status="declined",payment_method="card",decline_code="lost_card",client="a"} 1
payment_service_payment_outcome_duration_seconds_bucket{le="0.1"} 2
payment_service_payment_outcome_duration_seconds_bucket{le="0.5"} 5
payment_service_payment_outcome_duration_seconds_bucket{le="+Inf"} 6
payment_service_payment_outcome_duration_seconds_sum 9.5
"#;

    fn map(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn counts_are_read_from_the_metrics_and_summed_over_clients() {
        let other = r#"payment_service_payment_outcomes_total{status="succeeded",payment_method="card",decline_code="none",client="b"} 3"#;
        let counted = Totals::read(&format!("{EARLIER}{other}")).since(&Totals::default());
        assert_eq!(counted.outcomes, map(&[("declined", 1), ("succeeded", 8)]));
        assert_eq!(counted.codes, map(&[("lost_card", 1)]));
        assert_eq!(counted.seconds, map(&[("0.1", 2), ("0.5", 3), ("+Inf", 1)]));
    }

    #[test]
    fn only_what_was_counted_since_is_written() {
        let later = EARLIER.replace("} 5\n", "} 7\n").replace("} 6\n", "} 8\n");
        let (earlier, later) = (Totals::read(EARLIER), Totals::read(&later));
        assert!(earlier.since(&earlier).is_empty());
        let counted = later.since(&earlier);
        assert_eq!(counted.outcomes, map(&[("succeeded", 2)]));
        assert_eq!(counted.codes, map(&[]));
        assert_eq!(counted.seconds, map(&[("0.5", 2)]));
    }
}
