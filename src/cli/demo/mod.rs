//! `demo`: starts the service, sends payments of every kind by REST and by message, and shows how each one ended.
//!
//! It succeeds only if every outcome is the one that the card promises.

mod payments;
mod report;
mod send;
mod spans;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::app::App;
use crate::cli::{configuration, output};
use crate::config::{Backend, Config, Role};
use crate::domain::ClientName;
use crate::telemetry;
use send::Sender;
use spans::SpanLog;

/// Options of the demonstration.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep the service running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration, on the servers of DATABASE_URL and AMQP_URL if set, otherwise embedded.
pub async fn run(options: DemoArgs) -> ExitCode {
    let spans = SpanLog::default();
    // Warnings about the intended faults would clutter the output.
    let metrics = match telemetry::install("error", Some(Box::new(spans.clone()))) {
        Ok(metrics) => metrics,
        Err(error) => return output::failed(error.as_ref()),
    };
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return output::failed(&error),
    };
    let config = match config(&folder) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let render = Arc::new(move || metrics.render());
    match demonstrate(config, render, &spans, &options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => output::failed(error.as_ref()),
    }
}

/// The configuration of the environment, but with a separate folder, free ports, and short time-outs.
fn config(folder: &TempDir) -> Result<Config, ExitCode> {
    let folder = folder.path().display().to_string();
    configuration::load_with(Role::All, &|name| match name {
        "DATA_DIR" => Some(folder.clone()),
        "LISTEN_ADDR" | "ADMIN_ADDR" => Some("127.0.0.1:0".to_owned()),
        "CLIENTS_FILE" | "DEFAULT_CLIENT" => None,
        // Shorter than in production, so that faults and recovery happen within seconds.
        "PROCESSOR_TIMEOUT" => Some("2500ms".to_owned()),
        "RETRY_INITIAL" => Some("200ms".to_owned()),
        "RETRY_MAX_INTERVAL" => Some("500ms".to_owned()),
        "MAX_TRIES" => Some("3".to_owned()),
        "SWEEP_EVERY" => Some("100ms".to_owned()),
        name => std::env::var(name).ok(),
    })
}

async fn demonstrate(
    config: Config,
    render_metrics: crate::app::RenderMetrics,
    spans: &SpanLog,
    options: &DemoArgs,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let where_it_runs = match &config.backend {
        Backend::Embedded { .. } => "embedded, in a temporary folder, with no servers",
        Backend::Servers { .. } => "on MySQL and RabbitMQ, from DATABASE_URL and AMQP_URL",
    };
    let is_embedded = matches!(config.backend, Backend::Embedded { .. });
    let max_tries = config.retry.max_tries;
    let app = App::build(config, render_metrics).await?;
    let api = app.api_addr().ok_or("the service has no REST address")?;
    let page = app.admin_addr().filter(|_| is_embedded);
    let (broker, database) = (app.broker(), app.database());
    let stop = CancellationToken::new();
    let service = tokio::spawn(app.run(stop.clone()));
    let sender = Sender::new(api, broker)?;
    sender.until_ready().await?;
    if database
        .holds_others_than(&ClientName::parse("default")?)
        .await?
    {
        stop.cancel();
        return Err(
            "this database holds payments of other clients: use an empty one for the demonstration"
                .into(),
        );
    }
    let sent = payments::all();
    if !options.json {
        crate::outln!("The service runs at http://{api} ({where_it_runs}).\n");
    }
    let ended = sender.send_all(&sent, max_tries).await?;
    let kept = if options.json {
        report::print_json(&ended, api)
    } else {
        report::print(&ended, spans)
    };
    if !options.json {
        print_next_lines(api, page.filter(|_| options.keep), options.keep);
    }
    if options.keep {
        tokio::spawn(serve::stop_on_signal(stop.clone()));
    } else {
        stop.cancel();
    }
    service.await??;
    Ok(kept)
}

/// `page` is the address of the operators' page, if it is open to everyone on this machine.
fn print_next_lines(api: SocketAddr, page: Option<SocketAddr>, keep: bool) {
    let address = if keep {
        api.to_string()
    } else {
        "127.0.0.1:5009".to_owned()
    };
    if keep {
        crate::outln!("The service is still running; Ctrl-C stops it.");
    }
    crate::outln!("Next steps:");
    crate::outln!("  cargo run --release");
    crate::outln!(
        "  curl -s http://{address}/payments -H 'Content-Type: application/json' -H 'Prefer: wait=5' \
         -d '{{\"order_id\": 1, \"user_id\": 1, \"total_amount\": 99.53, \"card_token\": \"tok_visa\"}}'"
    );
    crate::outln!("  less src/lib.rs    # the map of the source, in the order of the steps above");
    if let Some(page) = page {
        crate::outln!(
            "  http://{page}/    # in a browser: these payments, and a button for each test card"
        );
    }
}

/// `12.3 ms`
fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
