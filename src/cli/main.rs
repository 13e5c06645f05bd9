//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::{
    check, configuration, dead_letters, demo, keys, output, payments, serve, setup, trigger,
};
use crate::config::{self, Role};
use crate::telemetry;

/// A message-driven payment service. Without a command: everything in one process, without servers.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Configured by environment variables: .env.example lists them all."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// REST and requests by message, on MySQL and RabbitMQ
    Api,
    /// Authorizes payments; start as many as you need
    Worker,
    /// Updates the schema of the database and the topology of the broker; safe to repeat
    Setup(setup::SetupArgs),
    /// Checks database, broker and configuration; or whether a process is live; or the stored payments
    Check(check::CheckArgs),
    /// Lists payments, and shows the state and the history of one
    Payments(payments::PaymentsArgs),
    /// Lists, shows, replays and discards messages that could not be used
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Sends payments of every kind through the service and shows how each one ended
    Demo(demo::DemoArgs),
    /// Sends one payment with a test card, and an operation on it, through the running service, and shows how it ended
    Trigger(trigger::TriggerArgs),
    /// Creates an API key, a key to seal cards with, and a secret for callbacks
    Keys(keys::KeysArgs),
    /// Prints a script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command in the arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&error),
    };
    let code = match arguments.command {
        None => runtime.block_on(run_role(Role::All)),
        Some(Command::Api) => runtime.block_on(run_role(Role::Api)),
        Some(Command::Worker) => runtime.block_on(run_role(Role::Worker)),
        Some(Command::Setup(options)) => runtime.block_on(run_setup(options)),
        Some(Command::Check(options)) => runtime.block_on(check::run(options)),
        Some(Command::DeadLetters(options)) => runtime.block_on(dead_letters::run(options)),
        Some(Command::Payments(options)) => runtime.block_on(payments::run(options)),
        Some(Command::Demo(options)) => runtime.block_on(demo::run(options)),
        Some(Command::Trigger(options)) => runtime.block_on(trigger::run(options)),
        Some(Command::Keys(options)) => keys::print(&options),
        Some(Command::Completions { shell }) => completions(shell),
    };
    // Tasks that are still running have had their time.
    runtime.shutdown_background();
    output::exit_code(code)
}

/// Prints the script. It is written to memory first: `generate` panics if its output cannot be written.
fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, env!("CARGO_PKG_NAME"), &mut script);
    crate::out!("{}", String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

async fn run_role(role: Role) -> ExitCode {
    let config = match configuration::load(role) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let metrics = match telemetry::install(telemetry::DEFAULT_FILTER, None) {
        Ok(metrics) => metrics,
        Err(error) => return output::failed(error.as_ref()),
    };
    warn_of_unknown_variables();
    match serve::run(config, metrics).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failed(&error),
    }
}

async fn run_setup(options: setup::SetupArgs) -> ExitCode {
    let config = match configuration::load(options.role()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::install(telemetry::SETUP_FILTER, None) {
        return output::failed(error.as_ref());
    }
    warn_of_unknown_variables();
    match setup::run(config, options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failed(error.as_ref()),
    }
}

fn warn_of_unknown_variables() {
    for (name, meant) in config::unknown_variables(std::env::vars_os()) {
        tracing::warn!(
            "{name} is not a variable of this service and has no effect: did you mean {meant}?"
        );
    }
}
