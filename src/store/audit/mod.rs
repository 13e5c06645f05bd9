//! Whether what is stored keeps the service's promises: one question to the database for each of them. Reads only;
//! each question is one statement, so it sees one moment, also while the service runs.
//!
//! Nothing else uses this: it is how tests, `check --payments` and operators find a breach.

mod readable;
mod rules;

use std::time::Duration;

use serde::Serialize;
use time::UtcOffset;

use super::StoreError;
use super::cells::Cell;
use super::engine::Connection;
use crate::domain::Timestamp;
pub use readable::READABLE;
pub use rules::{RULES, Rule, Severity};

/// How long things may take before they are overdue, and what there is to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Without any change to a payment whose first try is under way.
    pub first_try: Duration,
    /// Without any change to a payment that is processing, with a further try.
    pub processing: Duration,
    /// How far ahead of now anything may be due.
    pub ahead: Duration,
    /// After an outbox row's due time.
    pub outbox: Duration,
    /// After an outbox row was written: longer than any delayed try waits. A row that the broker refuses for ever is
    /// postponed again and again, so its due time alone does not tell.
    pub outbox_age: Duration,
    /// After a card token's expiry.
    pub token: Duration,
    /// Whether the issuer keeps a ledger.
    pub ledger: bool,
}

/// What the database holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// By the database's clock, RFC 3339.
    pub at: String,
    /// Name and number: payments by status, rows of each table.
    pub figures: Vec<(String, i64)>,
    /// One for every rule that was asked, kept or not.
    pub findings: Vec<Finding>,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Whether a case of it is a breach or only worth knowing.
    pub severity: Severity,
    /// Cases against it.
    pub count: i64,
    /// Up to ten of them.
    pub examples: Vec<String>,
    /// What to do about them.
    pub remedy: &'static str,
}

impl Audit {
    /// Whether any promise is broken.
    pub fn is_breached(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Breach && finding.count > 0)
    }

    /// What became of a rule.
    pub fn finding(&self, rule: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule == rule)
    }
}

/// Asks every question.
pub(super) async fn run<C: Connection>(
    connection: &mut C,
    bounds: Bounds,
) -> Result<Audit, StoreError> {
    let now = connection.now().await?;
    let mut figures: Vec<(String, i64)> = connection.fetch(rules::STATUSES, &[]).await?;
    figures.extend(connection.fetch(rules::TABLES, &[now.into()]).await?);
    let mut findings = Vec::with_capacity(RULES.len());
    for rule in RULES.iter().filter(|rule| bounds.ledger || !rule.ledger) {
        let parameters = (rule.parameters)(now, bounds);
        let cases: Vec<(String, i64)> = connection.fetch(rule.sql, &parameters).await?;
        findings.push(Finding {
            rule: rule.name,
            promise: rule.promise,
            severity: rule.severity,
            count: cases.first().map_or(0, |(_, total)| *total),
            examples: cases.into_iter().map(|(example, _)| example).collect(),
            remedy: rule.remedy,
        });
    }
    findings.push(readable::look(connection).await?);
    Ok(Audit {
        at: crate::domain::rfc3339(now),
        figures,
        findings,
    })
}

/// The smallest UUIDv7 of a moment, in hexadecimal digits.
fn first_id_at(moment: Timestamp) -> Cell<'static> {
    let millis = moment.to_offset(UtcOffset::UTC).unix_timestamp_nanos() / 1_000_000;
    format!("{:0<32}", format!("{:012x}", millis.max(0))).into()
}
