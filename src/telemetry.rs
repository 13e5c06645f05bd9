//! Logs and metrics of the process: set up once, by `main`.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Another place where spans go, besides the log.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What is logged unless `LOG` says otherwise. lapin logs returned messages with their bodies: not in our logs.
pub const DEFAULT_FILTER: &str = "info,lapin=error";

/// For commands that say themselves what went wrong: nothing else of it on the screen.
pub const COMMAND_FILTER: &str = "error,lapin=off";

/// Starts logging to standard error: `LOG` is a filter such as `info,payment_service=debug`, `LOG_FORMAT` is
/// `text` or `json`. Returns what renders the metrics.
pub fn install(
    default_filter: &str,
    extra: Option<ExtraLayer>,
) -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    let filter = variable("LOG").unwrap_or_else(|| default_filter.to_owned());
    // Targets and levels alone: filters on the fields of spans need the crate regex, a long part of the build.
    let filter: Targets = filter.parse()?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines: ExtraLayer = match variable("LOG_FORMAT").as_deref() {
        Some("json") => lines.json().with_filter(filter).boxed(),
        _ => lines.with_filter(filter).boxed(),
    };
    tracing_subscriber::registry()
        .with(extra.into_iter().chain([lines]).collect::<Vec<_>>())
        .try_init()?;
    Ok(PrometheusBuilder::new().install_recorder()?)
}

/// An empty variable counts as not set, as everywhere.
fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
