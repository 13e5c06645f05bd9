//! Checks whether the stored data keeps the service's promises, with one query for each of them. Only reads; each query
//! is one statement, so it sees a consistent state, even while the service runs.
//!
//! Only tests, `check --payments` and operators use this.

mod readable;
mod rules;

use std::time::Duration;

use serde::Serialize;
use time::UtcOffset;

use super::engine::Connection;
use super::sql_values::SqlValue;
use super::{Store, StoreError};
use crate::domain::Timestamp;
pub use readable::READABLE;
pub use rules::{RULES, Rule, Severity};

/// How long things may take before they are overdue, and what to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum time without a change to a payment in its first try.
    pub first_try: Duration,
    /// Maximum time without a change to a payment that is processing in a later try.
    pub processing: Duration,
    /// How far in the future anything may be due.
    pub ahead: Duration,
    /// Maximum time after an outbox row's due time.
    pub outbox: Duration,
    /// Maximum age of an outbox row: longer than any delayed try waits. A row that the broker always refuses is postponed
    /// again and again, so its due time does not show the problem.
    pub outbox_age: Duration,
    /// Maximum time after a card token's expiry.
    pub token: Duration,
    /// Whether the issuer keeps a ledger.
    pub ledger: bool,
}

/// The content of the database, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// By the database's clock, RFC 3339.
    pub at: String,
    /// Name and count: payments by status, rows of each table.
    pub figures: Vec<(String, i64)>,
    /// One for every rule that was checked, kept or broken.
    pub findings: Vec<Finding>,
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// The promise.
    pub promise: &'static str,
    /// Whether a violation is a breach or only a notice.
    pub severity: Severity,
    /// Number of violations.
    pub count: i64,
    /// Up to ten violations.
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

    /// The result of a rule.
    pub fn finding(&self, rule: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule == rule)
    }
}

impl Store {
    /// Checks whether the stored data keeps the service's promises.
    pub async fn audit(&self, bounds: Bounds) -> Result<Audit, StoreError> {
        run(&mut self.0.engine.reader().await?, bounds).await
    }
}

/// Runs every query.
async fn run(connection: &mut Connection, bounds: Bounds) -> Result<Audit, StoreError> {
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

/// The smallest UUIDv7 of a point in time, in hexadecimal digits.
fn first_id_at(moment: Timestamp) -> SqlValue<'static> {
    let millis = moment.to_offset(UtcOffset::UTC).unix_timestamp_nanos() / 1_000_000;
    format!("{:0<32}", format!("{:012x}", millis.max(0))).into()
}
