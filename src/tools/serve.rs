//! Runs a role until a signal says stop; a second signal does not wait.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::config::Config;

/// Builds and runs the app; logs where it can be reached.
pub async fn run(config: Config, metrics: PrometheusHandle) -> Result<(), AppError> {
    let role = config.role;
    let app = App::build(config, Arc::new(move || metrics.render())).await?;
    if let Some(address) = app.api_addr() {
        tracing::info!("REST on http://{address}");
    }
    if let Some(address) = app.admin_addr() {
        tracing::info!("health and metrics on http://{address}");
    }
    tracing::info!(
        ?role,
        version = env!("CARGO_PKG_VERSION"),
        "payment-service is up"
    );
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    app.run(stop).await
}

/// Cancels the token at SIGTERM or SIGINT; a second one ends the process at once.
pub async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received: stop this process with kill -9");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.is_cancelled() {
            tracing::warn!(
                "second signal: ending at once; what is in hand will be delivered again"
            );
            std::process::exit(1);
        }
        stop.cancel();
    }
}
