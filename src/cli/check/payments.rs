//! `check --payments`: figures, and every guarantee with the rows that break it.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::requests;
use crate::cli::{configuration, open, output};
use crate::config::{Config, Role};
use crate::payments::needs_person::{self, Case};
use crate::store::audit::{Audit, Bounds, Finding, Severity};

/// Allowance for a sweep that is delayed for a moment.
const SLACK: Duration = Duration::from_secs(30);

/// Expired tokens are erased about once a minute.
const TOKEN: Duration = Duration::from_secs(180);

/// How many violations of a promise are named.
const MOST_EXAMPLES: usize = 10;

/// Prints the audit of the configured database.
pub async fn run(json: bool, overdue: Option<Duration>) -> ExitCode {
    let config = match configuration::load(Role::All) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match audit(&config, overdue).await {
        Ok(audit) => {
            crate::out!(
                "{}",
                if json {
                    as_json(&audit)
                } else {
                    as_text(&audit)
                }
            );
            ExitCode::from(u8::from(audit.is_breached()))
        }
        Err(error) => output::failed(error.as_ref()),
    }
}

async fn audit(config: &Config, overdue: Option<Duration>) -> Result<Audit, Box<dyn Error>> {
    let database = open::database(config)?;
    let audit = match database.check().await {
        Ok(_) => database.audit(bounds(config, overdue)).await,
        Err(error) => Err(error),
    };
    let processors = requests::processors(config, &database);
    let cases = match &processors {
        Ok(processors) => Some(needs_person::find(&database, processors).await),
        Err(_) => None,
    };
    database.close().await;
    let mut audit = audit?;
    if let Some(cases) = cases {
        audit.findings.push(finding(&cases?));
    }
    processors?;
    Ok(audit)
}

/// What needs a person, as a broken promise.
fn finding(cases: &[Case]) -> Finding {
    let examples = cases.iter().take(MOST_EXAMPLES);
    let examples = examples.map(|case| output::printable(&case.in_words()));
    Finding {
        rule: "needs_person",
        promise: "no payment, capture, void or refund at a platform needs a person",
        severity: Severity::Breach,
        count: i64::try_from(cases.len()).unwrap_or(i64::MAX),
        examples: examples.collect(),
        remedy: "`payments list --needs-person` lists them; look at each at the platform: docs/runbook.md, Needs a person",
    }
}

/// A payment that is processing changes at least once within its longest delay plus one lease, or the rescue dispatches
/// it again; going through all of that once is not a problem.
fn bounds(config: &Config, overdue: Option<Duration>) -> Bounds {
    let longest_delay = config.retry.backoff.longest_delay();
    let first_try = config.leases.claim + config.leases.check + SLACK;
    let processing = first_try + longest_delay;
    let outbox = overdue.unwrap_or(config.leases.outbox + SLACK);
    Bounds {
        first_try: overdue.unwrap_or(first_try),
        processing: overdue.unwrap_or(processing),
        ahead: config.horizons().check + SLACK,
        outbox,
        outbox_age: outbox + longest_delay.max(config.leases.claim) + config.leases.outbox,
        token: TOKEN,
        ledger: config.issuer.ledger,
    }
}

fn as_json(audit: &Audit) -> String {
    let figures: serde_json::Map<_, _> = audit
        .figures
        .iter()
        .map(|(name, number)| (name.clone(), (*number).into()))
        .collect();
    let answer = serde_json::json!({
        "at": audit.at,
        "breached": audit.is_breached(),
        "figures": figures,
        "findings": audit.findings,
    });
    format!("{answer:#}\n")
}

fn as_text(audit: &Audit) -> String {
    let mut text = format!("At {} by the database's clock\n\n", audit.at);
    for (name, number) in &audit.figures {
        let _ = writeln!(text, "{name:<26} {number:>10}");
    }
    text.push('\n');
    for finding in &audit.findings {
        let _ = writeln!(
            text,
            "{:<7} {:<19} {}",
            word(finding),
            finding.rule,
            finding.promise
        );
        if finding.count > 0 {
            let _ = writeln!(
                text,
                "        {} against it: {}\n        what to do: {}",
                finding.count,
                finding.examples.join(", "),
                finding.remedy
            );
        }
    }
    text
}

fn word(finding: &Finding) -> &'static str {
    match (finding.count, finding.severity) {
        (0, _) => "ok",
        (_, Severity::Breach) => "BREACH",
        (_, Severity::Notice) => "notice",
    }
}
