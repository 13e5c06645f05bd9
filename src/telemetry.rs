//! Logs and metrics of the process: set up once, by `main`.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Another place where spans go, besides the log.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging to standard error: `LOG` is a filter such as `info,payment_service=debug`, `LOG_FORMAT` is
/// `text` or `json`. Returns what renders the metrics.
pub fn install(
    default_filter: &str,
    extra: Option<ExtraLayer>,
) -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    let filter = std::env::var("LOG").unwrap_or_else(|_| default_filter.to_owned());
    // Targets and levels alone: filters on the fields of spans need the crate regex, a long part of the build.
    let filter: Targets = filter.parse()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: ExtraLayer = match std::env::var("LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().with_filter(filter).boxed(),
        _ => lines.with_filter(filter).boxed(),
    };
    tracing_subscriber::registry()
        .with(extra.into_iter().chain([lines]).collect::<Vec<_>>())
        .try_init()?;
    Ok(PrometheusBuilder::new().install_recorder()?)
}
