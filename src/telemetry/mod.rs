//! Logs and metrics of the process: set up once, by `main`.

mod json;
mod series;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::clients::Clients;
use crate::config::{LogFormat, Role, log_settings};
use crate::metric::{CATALOGUE, Kind};

/// Another destination of spans, in addition to the log.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What is logged if `LOG` is not set. lapin logs returned messages with their bodies, which must not be in the log.
pub const DEFAULT_FILTER: &str = "info,lapin=error";

/// For commands that print their errors themselves: no other messages on the screen.
pub const COMMAND_FILTER: &str = "error,lapin=off";

/// For `setup`, which retries until its servers are up: the libraries' messages about each attempt are noise.
pub const SETUP_FILTER: &str = "info,lapin=off";

/// How often recorded values are added up. Without this, a process that nobody scrapes would keep every one of them.
const ADD_UP_EVERY: Duration = Duration::from_secs(5);

/// Starts logging to standard error, according to `LOG` and `LOG_FORMAT`. Returns the handle that renders the metrics.
pub fn install(
    default_filter: &str,
    extra: Option<ExtraLayer>,
) -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    let settings = log_settings(&|name| std::env::var(name).ok());
    // Only targets and levels: filters on span fields need the crate regex, which takes long to build.
    let filter = match settings.filter {
        Some(filter) => filter,
        None => default_filter.parse::<Targets>()?,
    };
    let lines = tracing_subscriber::fmt::layer()
        // It would use `eprintln!`, which panics if standard error cannot be written.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(has_colours());
    let lines: ExtraLayer = match settings.format {
        LogFormat::Json => lines
            .event_format(json::FlatJson)
            .fmt_fields(JsonFields::new())
            .with_ansi(false)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => lines.with_filter(filter).boxed(),
    };
    tracing_subscriber::registry()
        .with(extra.into_iter().chain([lines]).collect::<Vec<_>>())
        .try_init()?;
    let handle = exporter()?.install_recorder()?;
    describe();
    Ok(handle)
}

/// Renders the metrics in Prometheus' text format, with those of the process itself.
pub fn renderer(handle: PrometheusHandle) -> Arc<dyn Fn() -> String + Send + Sync> {
    let process = Collector::default();
    process.describe();
    Arc::new(move || {
        process.collect();
        handle.render()
    })
}

/// Creates the series of every known client, also of those that are added later, and adds up recorded values, for as long
/// as the process runs.
pub async fn maintain(handle: PrometheusHandle, role: Role, clients: Clients) -> Infallible {
    let mut known = clients.callbacks();
    loop {
        tokio::time::sleep(ADD_UP_EVERY).await;
        handle.run_upkeep();
        let now = clients.callbacks();
        if now != known {
            series::create(role, &clients);
            known = now;
        }
    }
}

/// Creates the series that are known before anything happens: an alert about a first event needs the zero before it.
pub fn create_series(role: Role, clients: &Clients) {
    series::create(role, clients);
}

fn exporter() -> Result<PrometheusBuilder, BuildError> {
    CATALOGUE
        .iter()
        .try_fold(PrometheusBuilder::new(), |builder, metric| {
            match metric.kind {
                Kind::Histogram(limits) => {
                    builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), limits)
                }
                Kind::Counter | Kind::Gauge => Ok(builder),
            }
        })
}

fn describe() {
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Colours are for terminals, unless `NO_COLOR` is set (no-color.org).
fn has_colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests;
