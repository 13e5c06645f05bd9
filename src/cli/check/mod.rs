//! `check`: whether a process lives, whether what is stored keeps its promises, whether the environment is fit.
//!
//! Exit code 0: nothing to object; 1: something is wrong.

pub mod environment;
pub mod live;
pub mod payments;

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::output;
use crate::telemetry;

/// What is checked.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Ask the process on this machine whether it lives (ADMIN_ADDR alone is needed), for container health checks
    #[arg(long, conflicts_with_all = ["payments", "json", "overdue"])]
    live: bool,
    /// Count what is stored and name every promise that is broken
    #[arg(long)]
    payments: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// With --payments: when something that is under way is overdue, such as 30s [default: from the configuration]
    #[arg(long, value_parser = humantime::parse_duration, requires = "payments")]
    overdue: Option<Duration>,
}

/// Runs the check that is asked for.
pub async fn run(options: Options) -> ExitCode {
    if options.live {
        return live::run(&|name| std::env::var(name).ok()).await;
    }
    // Answers go to standard output; only what is out of order is logged.
    if let Err(error) = telemetry::install(telemetry::COMMAND_FILTER, None) {
        return output::failed(error.as_ref());
    }
    if options.payments {
        payments::run(options.json, options.overdue).await
    } else {
        environment::run(options.json).await
    }
}
