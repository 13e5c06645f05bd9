//! `check`: whether a process is live, whether the stored payments are consistent, whether the environment is ready.
//!
//! Exit code 0: no problems found; 1: something is wrong.

pub mod environment;
pub mod live;
pub mod payments;

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::output;
use crate::telemetry;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Check whether the process on this machine is live (needs only ADMIN_ADDR), for container health checks
    #[arg(long, conflicts_with_all = ["payments", "overdue"])]
    live: bool,
    /// Count the stored payments and list every broken guarantee
    #[arg(long)]
    payments: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With --payments: after how long work under way counts as overdue, such as 30s [default: from the configuration]
    #[arg(long, value_parser = humantime::parse_duration, requires = "payments")]
    overdue: Option<Duration>,
}

/// Runs the requested check.
pub async fn run(options: CheckArgs) -> ExitCode {
    if options.live {
        return live::run(&|name| std::env::var(name).ok(), options.json).await;
    }
    // Results go to standard output; only problems are logged.
    if let Err(error) = telemetry::install(telemetry::COMMAND_FILTER, None) {
        return output::failed(error.as_ref());
    }
    if options.payments {
        payments::run(options.json, options.overdue).await
    } else {
        environment::run(options.json).await
    }
}
