//! The promises, each as a statement that both databases understand: (parameters) → up to ten violations, each with the
//! total number. An empty result means that the promise is kept.

use std::time::Duration;

use serde::Serialize;

use super::{Bounds, first_id_at};
use crate::domain::Timestamp;
use crate::store::sql_values::SqlValue;

/// The severity of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A promise is broken.
    Breach,
    /// Nothing is broken, but an operator should know.
    Notice,
}

/// A promise.
pub struct Rule {
    /// The name, for programs.
    pub name: &'static str,
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// The severity of a violation.
    pub severity: Severity,
    /// What to do about a violation.
    pub remedy: &'static str,
    /// Whether it needs the issuer's ledger.
    pub ledger: bool,
    /// The query.
    pub(super) sql: &'static str,
    /// Its parameters.
    pub(super) parameters: fn(Timestamp, Bounds) -> Vec<SqlValue<'static>>,
}

const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// () → name, number
pub(super) const STATUSES: &str =
    "SELECT COALESCE(stage, status), COUNT(*) FROM payments GROUP BY 1 ORDER BY 1";

/// (now) → name, number
pub(super) const TABLES: &str = "
SELECT 'events', COUNT(*) FROM payment_events
UNION ALL SELECT 'charges', COUNT(*) FROM issuer_ledger WHERE charged_at IS NOT NULL
UNION ALL SELECT 'charges_reversed', COUNT(*) FROM issuer_ledger
    WHERE charged_at IS NOT NULL AND reversed_at IS NOT NULL
UNION ALL SELECT 'operations', COUNT(*) FROM operations
UNION ALL SELECT 'outbox', COUNT(*) FROM outbox
UNION ALL SELECT 'outbox_due', COUNT(*) FROM outbox WHERE due_at <= ? AND lane <> 'aside'
UNION ALL SELECT 'card_tokens', COUNT(*) FROM card_tokens";

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "outcome_events",
        promise: "every ended attempt has exactly one outcome event",
        severity: Severity::Breach,
        remedy: "read the payment's history (`payments show ID`); rows were changed from outside, or this is a fault of the \
                 service",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN payment_events e ON e.payment_id = p.id AND e.kind IN ('succeeded', 'declined', 'failed')
WHERE p.capture_method IS NULL AND p.action IS NULL
GROUP BY p.id, p.stage, p.status, p.attempt
HAVING COUNT(e.id) <> p.attempt - CASE WHEN COALESCE(p.stage, p.status) = 'processing' THEN 1 ELSE 0 END
    OR COUNT(DISTINCT e.attempt) <> COUNT(e.id)
    OR MAX(e.attempt) > p.attempt - CASE WHEN COALESCE(p.stage, p.status) = 'processing' THEN 1 ELSE 0 END
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "outcome_events_of_captures",
        promise: "every ended attempt of a payment that is captured later has an outcome event",
        severity: Severity::Breach,
        remedy: "read the payment's history (`payments show ID`); rows were changed from outside, or this is a fault of the \
                 service",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN payment_events e ON e.payment_id = p.id
    AND e.kind IN ('requires_capture', 'succeeded', 'declined', 'failed')
WHERE p.capture_method IS NOT NULL AND p.action IS NULL
GROUP BY p.id, p.stage, p.operation, p.attempt
HAVING COUNT(DISTINCT e.attempt)
    <> p.attempt - CASE WHEN p.stage = 'processing' AND p.operation IS NULL THEN 1 ELSE 0 END
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "outcome_events_of_actions",
        promise: "every ended attempt of a payment that needed its shopper has one outcome event, unless another card replaced it",
        severity: Severity::Breach,
        remedy: "read the payment's history (`payments show ID`); rows were changed from outside, or this is a fault of the \
                 service",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN payment_events e ON e.payment_id = p.id
    AND (e.kind IN ('requires_capture', 'succeeded', 'declined', 'failed')
        OR (e.kind = 'close_started' AND e.reason = 'replaced' AND e.attempt < p.attempt)
        OR (e.kind = 'canceled' AND e.attempt > 0))
WHERE p.action IS NOT NULL
GROUP BY p.id, p.stage, p.status, p.operation, p.attempt
HAVING COUNT(DISTINCT e.attempt) < p.attempt
    - CASE WHEN COALESCE(p.stage, p.status) = 'requires_action'
        OR (COALESCE(p.stage, p.status) = 'processing' AND p.operation IS NULL) THEN 1 ELSE 0 END
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "last_event",
        promise: "the last event of a payment agrees with its status",
        severity: Severity::Breach,
        remedy: "read the payment's history; the last published event may contradict the answers by REST",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN payment_events e ON e.payment_id = p.id AND e.sequence = p.sequence
WHERE e.id IS NULL OR NOT (
    e.kind = COALESCE(p.stage, p.status)
    OR (COALESCE(p.stage, p.status) = 'requires_payment_method' AND e.kind = 'accepted')
    OR (COALESCE(p.stage, p.status) = 'processing' AND p.operation IS NULL
        AND e.kind IN ('attempt_started', 'try_failed', 'reversal_started', 'close_started'))
    OR (p.action IS NOT NULL AND e.kind = 'late_approval')
    OR (p.stage = 'processing' AND p.operation IS NOT NULL
        AND e.kind IN ('capture_started', 'void_started', 'operation_try_failed'))
    OR (p.status = 'succeeded'
        AND e.kind IN ('refund_started', 'refund_succeeded', 'refund_failed', 'operation_try_failed',
            'dispute_opened', 'dispute_closed'))
)
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "whole_history",
        promise: "a payment's events are numbered from 1 without a gap",
        severity: Severity::Breach,
        remedy: "the service never deletes events: find out who did",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN payment_events e ON e.payment_id = p.id
GROUP BY p.id, p.sequence
HAVING COUNT(e.id) <> p.sequence OR COALESCE(MAX(e.sequence), 0) <> p.sequence
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "history_in_time",
        promise: "no event is earlier than the one before it",
        severity: Severity::Breach,
        remedy: "rows were changed from outside, or this is a fault of the service: a clock that was set back does not \
                 cause it",
        ledger: false,
        sql: "
SELECT CAST(e.payment_id AS CHAR), COUNT(*) OVER ()
FROM payment_events e
JOIN payment_events earlier ON earlier.payment_id = e.payment_id AND earlier.sequence = e.sequence - 1
WHERE e.happened_at < earlier.happened_at
ORDER BY e.payment_id, e.sequence LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "payments_kept",
        promise: "every event belongs to a payment",
        severity: Severity::Breach,
        remedy: "the service never deletes payments: restore them from a backup, and find out who deleted them",
        ledger: false,
        sql: "
SELECT DISTINCT CAST(e.payment_id AS CHAR), COUNT(*) OVER ()
FROM payment_events e
LEFT JOIN payments p ON p.id = e.payment_id
WHERE p.id IS NULL AND e.sequence = 1
ORDER BY 1 LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "ids_ahead",
        promise: "the next payment id is larger than that of every payment",
        severity: Severity::Breach,
        remedy: "the tables come from different times, as after a restore of some of them. New blocks of ids begin \
                 automatically after the largest payment: restart every process that still has an older block",
        ledger: false,
        sql: "
SELECT CAST(MAX(p.id) AS CHAR), COUNT(*)
FROM payments p
HAVING MAX(p.id) >= COALESCE((SELECT next_id FROM id_blocks WHERE id_blocks.id = 1), 0)",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "charged_once",
        promise: "charges less reversals are 1 for a succeeded payment and 0 for any other, over all its attempts; 0 if a \
                  platform has charged it",
        severity: Severity::Breach,
        remedy: "the charges are wrong: compare history and ledger of the payment, correct it manually with the issuer, and \
                 report the fault",
        ledger: true,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN (
    SELECT payment_id, COUNT(*) AS charges FROM issuer_ledger
    WHERE charged_at IS NOT NULL AND reversed_at IS NULL GROUP BY payment_id
) l ON l.payment_id = p.id
WHERE p.capture_method IS NULL AND (COALESCE(l.charges, 0) > 1
    OR (COALESCE(p.stage, p.status) NOT IN ('processing', 'requires_action')
        AND COALESCE(l.charges, 0) <> CASE WHEN p.status = 'succeeded'
            AND COALESCE(p.method, '') NOT LIKE '%\"processor\":%' THEN 1 ELSE 0 END))
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "held_once",
        promise: "a payment that is captured later has one amount held while it is authorized or captured, and none otherwise",
        severity: Severity::Breach,
        remedy: "compare history and ledger of the payment, correct it manually with the issuer, and report the fault",
        ledger: true,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN (
    SELECT l.payment_id, COUNT(*) AS holds FROM issuer_ledger l
    LEFT JOIN issuer_operations o ON o.authorization_key = l.idempotency_key AND o.kind = 'void'
        AND o.executed_at IS NOT NULL
    WHERE l.charged_at IS NOT NULL AND l.reversed_at IS NULL AND o.idempotency_key IS NULL
    GROUP BY l.payment_id
) l ON l.payment_id = p.id
WHERE p.capture_method IS NOT NULL AND (COALESCE(l.holds, 0) > 1
    OR (COALESCE(p.stage, p.status) NOT IN ('processing', 'requires_action') AND COALESCE(p.cancellation_reason, '') <> 'authorization_gone'
        AND COALESCE(l.holds, 0)
            <> CASE WHEN COALESCE(p.stage, p.status) IN ('requires_capture', 'succeeded')
                AND COALESCE(p.method, '') NOT LIKE '%\"processor\":%' THEN 1 ELSE 0 END))
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "captured_rightly",
        promise: "what the issuer has captured for a payment is what the payment says",
        severity: Severity::Breach,
        remedy: "compare history and ledger of the payment, correct it manually with the issuer, and report the fault",
        ledger: true,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN (
    SELECT payment_id, SUM(amount_minor) AS captured FROM issuer_operations
    WHERE kind = 'capture' AND executed_at IS NOT NULL GROUP BY payment_id
) o ON o.payment_id = p.id
WHERE p.capture_method IS NOT NULL AND COALESCE(p.stage, p.status) <> 'processing'
    AND COALESCE(o.captured, 0) <> CASE WHEN p.status = 'succeeded'
        AND COALESCE(p.method, '') NOT LIKE '%\"processor\":%' THEN p.captured_minor ELSE 0 END
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "refunded_rightly",
        promise: "a refund that succeeded was carried out by the issuer, and one that failed was not",
        severity: Severity::Breach,
        remedy: "compare the refund with the issuer's ledger, correct it manually with the issuer, and report the fault",
        ledger: true,
        sql: "
SELECT CONCAT('payment ', r.payment_id), COUNT(*) OVER ()
FROM operations r
JOIN payments p ON p.id = r.payment_id
LEFT JOIN issuer_operations o ON o.payment_id = r.payment_id AND o.kind = 'refund'
    AND REPLACE(o.idempotency_key, '-', '') = LOWER(HEX(r.id))
WHERE r.kind = 'refund' AND r.status <> 'pending'
    AND CASE WHEN r.status = 'succeeded'
        AND COALESCE(p.method, '') NOT LIKE '%\"processor\":%' THEN r.amount_minor ELSE 0 END
        <> CASE WHEN o.executed_at IS NOT NULL AND (o.failed_at IS NULL OR r.phase = 'confirm')
            THEN o.amount_minor ELSE 0 END
ORDER BY r.payment_id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "refunds_added_up",
        promise: "a payment's refunded and reserved amounts are the sums of its refunds, and not more than what was captured",
        severity: Severity::Breach,
        remedy: "compare the payment with its refunds (`payments show ID`), and report the fault",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN (
    SELECT payment_id, SUM(CASE WHEN status = 'succeeded' THEN amount_minor ELSE 0 END) AS refunded,
        SUM(CASE WHEN status <> 'failed' THEN amount_minor ELSE 0 END) AS reserved
    FROM operations WHERE kind = 'refund' GROUP BY payment_id
) r ON r.payment_id = p.id
WHERE (r.payment_id IS NOT NULL OR p.reserved_minor IS NOT NULL)
    AND (COALESCE(p.refunded_minor, 0) <> COALESCE(r.refunded, 0)
        OR COALESCE(p.reserved_minor, 0) <> COALESCE(r.reserved, 0)
        OR COALESCE(p.reserved_minor, 0) > COALESCE(p.captured_minor, p.amount_minor))
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "operations_in_time",
        promise: "no capture, void or refund is overdue",
        severity: Severity::Breach,
        remedy: "are workers running, and is payments.operations consumed (GET /health/ready)? does the processor answer?",
        ledger: false,
        sql: "
SELECT CONCAT('payment ', payment_id), COUNT(*) OVER ()
FROM operations
WHERE check_at < ? AND quarantined IS NULL
ORDER BY check_at LIMIT 10",
        parameters: |now, bounds| vec![(now - bounds.processing).into()],
    },
    Rule {
        name: "operations_quarantined",
        promise: "no capture, void or refund is quarantined",
        severity: Severity::Breach,
        remedy: "repair the row, then release it: docs/runbook.md, Quarantine",
        ledger: false,
        sql: "
SELECT CONCAT(HEX(id), ': ', quarantined), COUNT(*) OVER ()
FROM operations
WHERE quarantined IS NOT NULL
ORDER BY id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "charged_rightly",
        promise: "every line of the ledger belongs to a payment and has its amount and currency",
        severity: Severity::Breach,
        remedy: "a charge has no matching payment: look for a lost payment, for example because of an old backup",
        ledger: true,
        sql: "
SELECT l.idempotency_key, COUNT(*) OVER ()
FROM issuer_ledger l
LEFT JOIN payments p ON p.id = l.payment_id
WHERE p.id IS NULL OR p.amount_minor <> l.amount_minor OR p.currency <> l.currency
ORDER BY l.idempotency_key LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "charged_by_attempt",
        promise: "a charge that is not reversed has the key of its payment's current attempt",
        severity: Severity::Breach,
        remedy: "the charge belongs to an attempt that has ended: compare history and ledger of the payment, correct it \
                 manually with the issuer, and report the fault",
        ledger: true,
        sql: "
SELECT l.idempotency_key, COUNT(*) OVER ()
FROM issuer_ledger l
JOIN payments p ON p.id = l.payment_id
WHERE l.charged_at IS NOT NULL AND l.reversed_at IS NULL
    AND l.idempotency_key <> CONCAT(p.id, '-', p.attempt)
ORDER BY l.idempotency_key LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "authorized",
        promise: "a payment that is authorized or has succeeded has its authorization code, and no payment that was never \
                  authorized has one",
        severity: Severity::Breach,
        remedy: "the issuer's answer is lost: ask the issuer for the code by the attempt's key",
        ledger: false,
        sql: "
SELECT CAST(id AS CHAR), COUNT(*) OVER ()
FROM payments
WHERE (COALESCE(stage, status) IN ('succeeded', 'requires_capture') AND COALESCE(authorization_code, '') = '')
    OR (status <> 'succeeded' AND capture_method IS NULL AND authorization_code IS NOT NULL)
ORDER BY id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "processing_in_time",
        promise: "no payment is processing beyond its deadline",
        severity: Severity::Breach,
        remedy: "are workers running and registered (GET /health/ready)? is the work queue long? then start more workers",
        ledger: false,
        sql: "
SELECT CAST(id AS CHAR), COUNT(*) OVER ()
FROM payments
WHERE status = 'processing' AND COALESCE(stage, status) = 'processing' AND operation IS NULL
    AND phase = 'authorize' AND quarantined IS NULL
    AND updated_at < CASE WHEN try_number <= 1 THEN ? ELSE ? END
ORDER BY id LIMIT 10",
        parameters: |now, bounds| {
            vec![
                (now - bounds.first_try).into(),
                (now - bounds.processing).into(),
            ]
        },
    },
    Rule {
        name: "reversal_in_time",
        promise: "no reversal is overdue",
        severity: Severity::Notice,
        remedy: "the processor does not confirm reversals: they are repeated without limit; ask the processor",
        ledger: false,
        sql: "
SELECT CAST(id AS CHAR), COUNT(*) OVER ()
FROM payments
WHERE status = 'processing' AND COALESCE(stage, status) = 'processing' AND operation IS NULL
    AND phase = 'reverse' AND updated_at < ? AND quarantined IS NULL
ORDER BY id LIMIT 10",
        parameters: |now, bounds| vec![(now - bounds.processing).into()],
    },
    Rule {
        name: "rescue",
        promise: "the rescue watches every payment that is processing or waits for its shopper, and no other",
        severity: Severity::Breach,
        remedy: "set check_at of these payments to now: the rescue dispatches them. Where `stage` is not null it is in the row of \
                 capture_schedule",
        ledger: false,
        sql: "
SELECT CAST(p.id AS CHAR), COUNT(*) OVER ()
FROM payments p
LEFT JOIN capture_schedule s ON s.payment_id = p.id
WHERE CASE WHEN COALESCE(p.stage, p.status) IN ('processing', 'requires_action') AND p.operation IS NULL THEN 1 ELSE 0 END
   <> CASE WHEN COALESCE(p.check_at, s.check_at) IS NULL THEN 0 ELSE 1 END
ORDER BY p.id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "outbox_in_time",
        promise: "no outbox row is overdue",
        severity: Severity::Breach,
        remedy: "is the broker reachable, its disk and memory free, its queues not full, those of subscribers included? is any \
                 process running? has the row a `lane` of another release (setup --back)?",
        ledger: false,
        sql: "
SELECT HEX(id), COUNT(*) OVER ()
FROM outbox
WHERE (due_at < ? OR id < UNHEX(?)) AND lane <> 'aside'
ORDER BY due_at LIMIT 10",
        parameters: |now, bounds| {
            vec![
                (now - bounds.outbox).into(),
                first_id_at(now - bounds.outbox_age),
            ]
        },
    },
    Rule {
        name: "due_in_time",
        promise: "nothing is due later than the longest delay allows",
        severity: Severity::Breach,
        remedy: "the database's clock was ahead when these rows were written: running processes treat them as due; is one \
                 running?",
        ledger: false,
        sql: "
SELECT CONCAT('payment ', id), COUNT(*) OVER ()
FROM (
    SELECT id FROM payments WHERE check_at > ? OR claimed_until > ?
    UNION SELECT payment_id FROM outbox WHERE due_at > ? AND payment_id IS NOT NULL
) ahead
ORDER BY id LIMIT 10",
        parameters: |now, bounds| vec![(now + bounds.ahead).into(); 3],
    },
    Rule {
        name: "payments_quarantined",
        promise: "no payment is quarantined",
        severity: Severity::Breach,
        remedy: "repair the row, then release it: docs/runbook.md, Quarantine",
        ledger: false,
        sql: "
SELECT CONCAT(CAST(id AS CHAR), ': ', quarantined), COUNT(*) OVER ()
FROM payments
WHERE quarantined IS NOT NULL
ORDER BY id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "outbox_quarantined",
        promise: "no outbox row is quarantined",
        severity: Severity::Breach,
        remedy: "repair the row, then release it: docs/runbook.md, Quarantine",
        ledger: false,
        sql: "
SELECT CONCAT(HEX(id), ': ', quarantined), COUNT(*) OVER ()
FROM outbox
WHERE lane = 'aside' AND quarantined IS NOT NULL
ORDER BY id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "platform_events_applied",
        promise: "every event of a payment platform could be applied to its payment",
        severity: Severity::Breach,
        remedy: "look at the platform for what happened to the attempt, refund or dispute that is named (`payments reconcile`), then \
                 delete the row; it is deleted after three days by itself",
        ledger: false,
        sql: "
SELECT CONCAT(processor, ' ', event_id, ' (', kind, ') about ', subject, ' ', reference, ': ', COALESCE(quarantined, '')),
    COUNT(*) OVER ()
FROM platform_events
WHERE state = 'aside'
ORDER BY processor, event_id LIMIT 10",
        parameters: |_, _| vec![],
    },
    Rule {
        name: "platform_events_in_time",
        promise: "no event of a payment platform has waited for an hour",
        severity: Severity::Notice,
        remedy: "does PROCESSORS_FILE list the platform, and does it answer (GET /health/ready)? is the payment in this database, and \
                 under way? After three days without a fitting payment the event is set aside",
        ledger: false,
        sql: "
SELECT CONCAT(processor, ' ', event_id, ' (', kind, ') about ', subject, ' ', reference), COUNT(*) OVER ()
FROM platform_events
WHERE state = 'waiting' AND difference IS NULL AND received_at < ?
ORDER BY processor, event_id LIMIT 10",
        parameters: |now, _| vec![(now - AN_HOUR).into()],
    },
    Rule {
        name: "cards_erased",
        promise: "no payment that is not processing has a sealed card",
        severity: Severity::Breach,
        remedy: "set sealed_card of these payments to null",
        ledger: false,
        sql: "
SELECT CAST(id AS CHAR), COUNT(*) OVER ()
FROM payments
WHERE COALESCE(stage, status) <> 'processing' AND sealed_card IS NOT NULL
ORDER BY id LIMIT 10",
        parameters: |_, _| vec![],
    },
    // A token can be used by anyone who knows its id, so an example contains only its client.
    Rule {
        name: "tokens_erased",
        promise: "no card token that is used or expired has its card",
        severity: Severity::Breach,
        remedy: "every running process erases them once a minute: is one running?",
        ledger: false,
        sql: "
SELECT CONCAT('a token of ', client), COUNT(*) OVER ()
FROM card_tokens
WHERE sealed_card IS NOT NULL AND (used_by IS NOT NULL OR expires_at < ?)
ORDER BY expires_at LIMIT 10",
        parameters: |now, bounds| vec![(now - bounds.token).into()],
    },
    Rule {
        name: "tokens_used_once",
        promise: "a used card token names its payment, and no payment used more tokens than it had attempts, but for a card that \
                  was presented while the shopper approved another",
        severity: Severity::Breach,
        remedy: "a payment is missing, or rows were changed from outside: look for a lost payment, for example because of an \
                 old backup",
        ledger: false,
        sql: "
SELECT CONCAT('payment ', t.used_by), COUNT(*) OVER ()
FROM card_tokens t
LEFT JOIN payments p ON p.id = t.used_by
WHERE t.used_by IS NOT NULL
GROUP BY t.used_by, p.id, p.attempt, p.action
HAVING p.id IS NULL OR COUNT(*) > p.attempt + CASE WHEN p.action IS NULL THEN 0 ELSE 1 END
ORDER BY t.used_by LIMIT 10",
        parameters: |_, _| vec![],
    },
];
