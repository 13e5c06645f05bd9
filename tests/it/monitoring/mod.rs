//! Metrics, as Prometheus' own tools see them.

mod metrics;
mod promtool;
