//! `check`: configuration, database and broker; each problem comes with what to do about it.

mod broker;
mod database;
mod stages;

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::check::live;
use crate::cli::output::{self, Paint};
use crate::cli::{open, reach};
use crate::config::{Backend, Config, Fault, Role};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No problem.
    Ok,
    /// It works, but an operator should check it.
    Warn,
    /// It does not work, or will soon fail.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The result in words.
    pub message: String,
    /// What to do; none if there is no problem.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            message: message.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            level: Level::Warn,
            remedy: Some(remedy.to_owned()),
            ..Self::ok(name, message)
        }
    }

    fn fail(name: &'static str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(name, message, remedy)
        }
    }
}

/// Prints every finding; exit code 1 if one of them is a failure.
pub async fn run(json: bool) -> ExitCode {
    let findings = match Config::load(Role::All, &|name| std::env::var(name).ok()) {
        Ok(config) => look(&config).await,
        Err(faults) => faults.iter().map(configuration_fault).collect(),
    };
    if json {
        crate::outln!("{:#}", serde_json::json!({ "findings": findings }));
    } else {
        findings.iter().for_each(print);
    }
    let failed = findings.iter().any(|it| it.level == Level::Fail);
    ExitCode::from(u8::from(failed))
}

fn configuration_fault(fault: &Fault) -> Finding {
    Finding::fail(
        "configuration",
        fault.to_string(),
        ".env.example describes the variables",
    )
}

async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        Finding::ok("configuration", "every variable can be used"),
        clients(config),
    ];
    let (away_database, away_broker) = match &config.backend {
        Backend::Embedded { .. } => (Reached::All, Reached::All),
        Backend::Servers { database, amqp, .. } => tokio::join!(
            reached("database", "DATABASE_URL", database.addresses()),
            reached("broker", "AMQP_URL", amqp.addresses()),
        ),
    };
    if away_database.add_to(&mut findings) {
        match open::database(config) {
            Ok(store) => {
                findings.extend(database::look(&store, config).await);
                store.close().await;
            }
            Err(error) => findings.push(Finding::fail(
                "database",
                error.to_string(),
                "start the service once, or set another DATA_DIR",
            )),
        }
    }
    match &config.backend {
        Backend::Embedded { .. } => {
            findings.push(Finding::ok("broker", "embedded: nothing to check"));
        }
        Backend::Servers { amqp, .. } => {
            if away_broker.add_to(&mut findings) {
                findings.extend(broker::look(amqp.clone()).await);
            }
        }
    }
    let admin = live::reachable(config.admin_addr.0);
    findings.push(stages::look(admin).await);
    findings
}

/// Which of a server's addresses can be reached.
enum Reached {
    /// All of them.
    All,
    /// Some; with a warning about the others.
    Some(Finding),
    /// None; there is nothing more to check.
    None(Finding),
}

impl Reached {
    /// Returns whether there is anything to check.
    fn add_to(self, findings: &mut Vec<Finding>) -> bool {
        let goes_on = !matches!(self, Self::None(_));
        match self {
            Self::All => {}
            Self::Some(finding) | Self::None(finding) => findings.push(finding),
        }
        goes_on
    }
}

async fn reached(name: &'static str, variable: &str, addresses: Vec<reach::Address>) -> Reached {
    let unreachable = reach::unreachable(&addresses).await;
    let causes = unreachable.join("; ");
    let remedy = format!("is it running, and are host and port in {variable} correct?");
    match unreachable.len() {
        0 => Reached::All,
        number if number < addresses.len() => Reached::Some(Finding::warn(name, causes, &remedy)),
        _ => Reached::None(Finding::fail(name, causes, &remedy)),
    }
}

fn clients(config: &Config) -> Finding {
    match (config.clients.number(), config.clients.default_client()) {
        (_, Some(everyone)) => Finding::warn(
            "clients",
            format!("no CLIENTS_FILE: every caller is the client `{everyone}`"),
            "set CLIENTS_FILE before others can reach the service; `payment-service keys` shows an example",
        ),
        (0, None) => Finding::warn(
            "clients",
            "CLIENTS_FILE names no client: nobody can use the service",
            "add a client to it; `payment-service keys` shows an example",
        ),
        (number, None) => Finding::ok("clients", format!("CLIENTS_FILE names {number}")),
    }
}

fn print(finding: &Finding) {
    let (level, paint) = match finding.level {
        Level::Ok => ("ok   ", Paint::Green),
        Level::Warn => ("warn ", Paint::Yellow),
        Level::Fail => ("FAIL ", Paint::Red),
    };
    let level = output::painted(level, Some(paint));
    crate::outln!("{level} {:<15} {}", finding.name, finding.message);
    if let Some(remedy) = &finding.remedy {
        crate::outln!("{:22}what to do: {remedy}", "");
    }
}
