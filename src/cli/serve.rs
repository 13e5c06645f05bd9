//! Runs a role until a signal stops it; a second signal ends the process at once.

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::config::{Backend, Config};
use crate::telemetry;

/// Builds and runs the app; logs its addresses.
pub async fn run(config: Config, metrics: PrometheusHandle) -> Result<(), AppError> {
    let role = config.role;
    let first_contact = FirstContact::of(&config);
    let ignored = ignore_signals()?;
    let clients = config.clients.clone();
    telemetry::create_series(role, &clients);
    let render = telemetry::renderer(metrics.clone());
    let app = App::build(config, render).await?;
    if let Some(address) = app.api_addr() {
        tracing::info!("REST on http://{address}");
        tracing::info!("documentation on http://{address}/docs");
        if first_contact.needs_no_key {
            tracing::info!(
                "no API key is needed: CLIENTS_FILE is not set, every caller is the client `default`"
            );
        }
    }
    if let Some(folder) = first_contact.data {
        tracing::info!("data in {folder} (embedded: SQLite and a broker in this process)");
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
    // In this task: a panic ends the process.
    let ended = tokio::select! {
        ended = app.run(stop) => ended,
        never = telemetry::maintain(metrics, role, clients) => match never {},
    };
    ignored.abort();
    ended
}

/// What to log for someone who starts the service for the first time.
struct FirstContact {
    /// The folder of the embedded data.
    data: Option<String>,
    needs_no_key: bool,
}

impl FirstContact {
    fn of(config: &Config) -> Self {
        let data = match &config.backend {
            Backend::Embedded { data_dir } => {
                let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.clone());
                Some(absolute.display().to_string())
            }
            Backend::Servers { .. } => None,
        };
        Self {
            data,
            needs_no_key: config.clients.default_client().is_some(),
        }
    }
}

/// SIGHUP, which a terminal sends when it is closed, SIGUSR1 and SIGUSR2 do not end the service; other programs reload
/// their settings or reopen their log at one of them. Here CLIENTS_FILE and ADMIN_FILE are watched, and the log goes to standard error.
fn ignore_signals() -> Result<JoinHandle<()>, AppError> {
    let receive = |kind| signal(kind).map_err(AppError::Signals);
    let mut hang_ups = receive(SignalKind::hangup())?;
    let mut first = receive(SignalKind::user_defined1())?;
    let mut second = receive(SignalKind::user_defined2())?;
    Ok(tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = hang_ups.recv() => "SIGHUP",
                Some(()) = first.recv() => "SIGUSR1",
                Some(()) = second.recv() => "SIGUSR2",
                else => return,
            };
            tracing::info!(
                "{name} is ignored: CLIENTS_FILE and ADMIN_FILE are read again when they change, everything else at the start"
            );
        }
    }))
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
                "second signal: exiting at once; unfinished work will be delivered again"
            );
            std::process::exit(1);
        }
        stop.cancel();
    }
}
