//! Logs and metrics of the process: set up once, by `main`.

mod json;

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogFormat, log_settings};

/// Another destination of spans, in addition to the log.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What is logged if `LOG` is not set. lapin logs returned messages with their bodies, which must not be in the log.
pub const DEFAULT_FILTER: &str = "info,lapin=error";

/// For commands that print their errors themselves: no other messages on the screen.
pub const COMMAND_FILTER: &str = "error,lapin=off";

/// For `setup`, which retries until its servers are up: the libraries' messages about each attempt are noise.
pub const SETUP_FILTER: &str = "info,lapin=off";

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
    Ok(PrometheusBuilder::new().install_recorder()?)
}

/// Colours are for terminals, unless `NO_COLOR` is set (no-color.org).
fn has_colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests;
