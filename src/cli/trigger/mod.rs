//! `trigger`: sends one payment with a test card through the running service, and shows how it ended.
//!
//! It calls the service by REST, as its clients do, and reads no database. It refuses a service whose processor is not the
//! simulated issuer.

mod scenario;
mod send;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::check::live::reachable;
use super::output::{self, Paint};
use crate::config::listen_addr;
use scenario::Scenario;
use send::{Ended, NotSent, Service};

/// sysexits.h: the command was used wrongly.
const EX_USAGE: u8 = 64;

/// What to send, and where to.
#[derive(Debug, clap::Args)]
pub struct TriggerArgs {
    /// The scenario: a test card by its name, wallet, or an operation: capture, void, refund
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// List the scenarios
    #[arg(long, conflicts_with = "scenario")]
    list: bool,
    /// Address of the service [default: http:// and LISTEN_ADDR]
    #[arg(long)]
    url: Option<String>,
    /// API key [default: the variable API_KEY; a service without CLIENTS_FILE needs none]
    #[arg(long)]
    api_key: Option<String>,
    /// How long to wait for each outcome, such as 30s
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m")]
    patience: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command: 0 if the scenario ended as it promises, 1 if not, 64 for an unknown one.
pub async fn run(options: TriggerArgs) -> ExitCode {
    let Some(name) = &options.scenario else {
        list(options.json);
        return ExitCode::SUCCESS;
    };
    let Some(scenario) = scenario::by_name(name) else {
        let meant = scenario::meant(name);
        let meant = meant.map_or_else(String::new, |meant| format!(" did you mean `{meant}`?"));
        crate::errln!(
            "payment-service: there is no scenario `{name}`;{meant} `payment-service trigger --list` shows them all"
        );
        return ExitCode::from(EX_USAGE);
    };
    match send(&options, &scenario).await {
        Ok((service, ended)) => {
            let kept = ended.broken.is_none();
            if options.json {
                crate::outln!("{:#}", as_json(&scenario, &ended));
            } else {
                print(&service, &scenario, &ended);
            }
            ExitCode::from(u8::from(!kept))
        }
        Err(error) => output::failed(&error),
    }
}

async fn send(options: &TriggerArgs, scenario: &Scenario) -> Result<(Service, Ended), NotSent> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => {
            let address = listen_addr(&|name| std::env::var(name).ok());
            let address = address.map_err(NotSent::Configuration)?;
            format!("http://{}", reachable(address))
        }
    };
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let key = options.api_key.clone().or_else(|| set("API_KEY"));
    let service = Service::new(&url, key, options.patience)?;
    service.check().await?;
    output::note_on_terminal(&format!("Sending `{}` to {url} …", scenario.name));
    let ended = service.run(scenario).await?;
    Ok((service, ended))
}

fn list(json: bool) {
    let all = scenario::all();
    if json {
        let all: Vec<Value> = all.iter().map(listed).collect();
        crate::outln!("{:#}", Value::Array(all));
        return;
    }
    let width = all.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for scenario in all {
        crate::outln!("{:<width$}  {}", scenario.name, scenario.line);
    }
}

fn listed(scenario: &Scenario) -> Value {
    json!({
        "scenario": scenario.name,
        "card_token": (!scenario.wallet).then_some(scenario.card.token),
        "operation": scenario.operation.map(|kind| kind.as_str()),
        "what_happens": scenario.line,
    })
}

fn as_json(scenario: &Scenario, ended: &Ended) -> Value {
    json!({
        "scenario": scenario.name,
        "what_happens": scenario.line,
        "as_promised": ended.broken.is_none(),
        "expected": ended.broken,
        "waits_until": ended.waits_until,
        "duration_ms": u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
        "payment": ended.payment,
        "refund": ended.refund,
    })
}

fn print(service: &Service, scenario: &Scenario, ended: &Ended) {
    let payment = &ended.payment;
    let id = payment.payment_id;
    let reason = |code: Option<&str>| code.map_or_else(String::new, |code| format!(" ({code})"));
    crate::outln!("{}: {}", scenario.name, scenario.line);
    let why = match payment.cancellation_reason {
        Some(why) => Some(why.to_string()),
        None => payment.decline_code.clone(),
    };
    crate::outln!(
        "Payment {id} is {}{} after {:.1} s.",
        payment.status,
        reason(why.as_deref()),
        ended.took.as_secs_f64()
    );
    if let Some(until) = &ended.waits_until {
        crate::outln!(
            "It fails when its shopper's time is over, at {until} (ISSUER_ACTION_LIFE); --patience waits longer."
        );
    }
    if let Some(refund) = &ended.refund {
        crate::outln!(
            "Refund {} is {}{}.",
            refund.refund_id,
            refund.status.as_str(),
            reason(refund.failure_code.as_deref())
        );
    }
    match &ended.broken {
        None => crate::outln!("{}", output::painted("As promised.", Some(Paint::Green))),
        Some(expected) => {
            let text = format!("Not as promised: expected {expected}.");
            crate::outln!("{}", output::painted(&text, Some(Paint::Red)));
        }
    }
    crate::outln!("");
    crate::outln!("  payment-service payments show {id}");
    crate::outln!("  payment-service payments watch {id}");
    crate::outln!("  curl -s {}/payments/{id}/events", service.url);
}
