//! Metrics, alerting rules and dashboard, as Prometheus' own tools see them.

mod alerts;
mod metrics;
mod prometheus;
mod promtool;
