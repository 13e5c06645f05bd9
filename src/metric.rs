//! The catalogue of metrics: what this service counts and measures, under the names that `/metrics` shows.
//!
//! Code that counts uses the constants; `telemetry` describes every metric and creates its series at the start of the
//! process. Labels have few values: names of clients, routes, statuses, codes and reasons, never ids. The names of
//! processes' own metrics (`process_*`) are Prometheus' standard ones and come from the crate `metrics-process`.

/// Everything that is known about a metric before the process starts.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As in `/metrics`.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// Which roles have it.
    pub role: Role,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence for `# HELP`.
    pub help: &'static str,
}

/// What the values of a metric mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows, and starts at 0 with the process.
    Counter,
    /// A current value.
    Gauge,
    /// How many values were at most as large as each of these limits, which ascend.
    Histogram(&'static [f64]),
}

/// The roles that have a metric. A process that does everything has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Every process.
    Each,
    /// An api.
    Api,
    /// A worker.
    Worker,
}

/// Limits for requests and for calls to a processor, in seconds.
const CALL_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Limits for outcomes, in seconds: from a fast processor to one that is retried for an hour.
const OUTCOME_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// Limits for the number of rows in a transaction.
const ROWS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

macro_rules! catalogue {
    ($($constant:ident: $kind:expr, $role:ident, $name:literal, $labels:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All metrics.
        pub const CATALOGUE: &[Metric] = &[
            $(Metric { name: $name, kind: $kind, role: Role::$role, labels: &$labels, help: $help },)*
        ];
    };
}

use Kind::{Counter, Gauge, Histogram};

catalogue! {
    BUILD_INFO: Gauge, Each, "payment_service_build_info", ["version"],
        "Always 1; the label is the version of the program.";
    READY: Gauge, Each, "payment_service_ready", [],
        "1 if /health/ready answers 200, otherwise 0.";
    DATABASE_UP: Gauge, Each, "payment_service_database_up", [],
        "1 if the last check could read and write the database, otherwise 0.";
    BROKER_UP: Gauge, Each, "payment_service_broker_up", [],
        "1 if the broker is connected and accepts messages, otherwise 0.";
    DATABASE_CONNECTIONS: Gauge, Each, "payment_service_database_connections", ["pool", "state"],
        "Open connections to the database, in use or idle.";
    DATABASE_CONNECTIONS_MAX: Gauge, Each, "payment_service_database_connections_max", ["pool"],
        "The most connections that a pool opens.";

    HTTP_REQUESTS: Counter, Api, "payment_service_http_requests_total", ["route", "method", "status"],
        "Requests that were answered, by the class of the status: 2xx, 3xx, 4xx or 5xx.";
    HTTP_REQUEST_SECONDS: Histogram(CALL_SECONDS), Api, "payment_service_http_request_duration_seconds",
        ["route", "method"],
        "Time from the head of a request to the head of its answer, including any time that the caller asked to wait.";
    HTTP_REQUESTS_REFUSED: Counter, Api, "payment_service_http_requests_refused_total", ["client"],
        "Requests answered with 429 because the client had too many under way.";
    HTTP_BODIES_DISCARDED: Counter, Each, "payment_service_http_bodies_discarded_total", ["result"],
        "Unread rests of bodies after an early answer, read to their end (whole) or not (cut).";
    HTTP_CONNECTIONS_REFUSED: Counter, Each, "payment_service_http_connections_refused_total", [],
        "Connections that were refused because HTTP_CONNECTIONS was reached.";
    HTTP_CONNECTIONS_CLOSED_FOR_OTHERS: Counter, Each, "payment_service_http_connections_closed_for_others_total", [],
        "Idle connections that were closed to make room for new ones.";

    ADMIN_REQUESTS_REFUSED: Counter, Each, "payment_service_admin_requests_refused_total", ["reason"],
        "Requests for the operators' page that were refused.";

    MESSAGES_REFUSED: Counter, Api, "payment_service_messages_refused_total", ["reason"],
        "Requests by message that were refused.";
    DEAD_LETTERS: Counter, Each, "payment_service_dead_letters_total", ["reason"],
        "Dead letters that this process wrote; the broker's own, after too many deliveries, are not included.";

    PAYMENT_ATTEMPTS: Counter, Api, "payment_service_payment_attempts_total", ["client"],
        "Cards or other payment methods that were presented, with the request or later, and accepted for processing.";
    PAYMENT_OUTCOMES: Counter, Each, "payment_service_payment_outcomes_total",
        ["status", "payment_method", "decline_code", "client"],
        "Recorded outcomes of payments. One that is captured later has two: requires_capture, and how the capture or void ended.";
    PAYMENT_OUTCOME_SECONDS: Histogram(OUTCOME_SECONDS), Worker, "payment_service_payment_outcome_duration_seconds", [],
        "Time from the presentation of a card, usually with the request, to the recorded outcome; until the shopper is asked to \
         approve, if that is needed.";
    PAYMENT_TRIES: Counter, Worker, "payment_service_payment_tries_total", ["status"],
        "Tries whose answer was recorded, by the status of the payment after it; processing means another try.";
    OPERATION_TRIES: Counter, Worker, "payment_service_operation_tries_total", ["kind", "status"],
        "Tries of captures, voids and refunds whose answer was recorded, by the status of the operation after it.";
    PROCESSOR_CALLS: Counter, Worker, "payment_service_processor_calls_total", ["processor", "operation", "result"],
        "Calls to a processor.";
    PROCESSOR_CALL_SECONDS: Histogram(CALL_SECONDS), Worker, "payment_service_processor_call_duration_seconds",
        ["processor", "operation"],
        "Time until a processor answered, or until the time limit.";
    PROCESSOR_UP: Gauge, Worker, "payment_service_processor_up", ["processor"],
        "1 if a processor can be called, 0 while its platform does not answer, refuses the account's key, or is switched off.";
    PLATFORM_EVENTS: Counter, Api, "payment_service_platform_events_total", ["result"],
        "Webhooks of payment platforms, by what became of them.";
    DISPUTES: Counter, Worker, "payment_service_disputes_total", ["event"],
        "Disputes about payments that platforms have reported: dispute_opened and dispute_closed.";
    TRIES_LEFT_GROUP: Counter, Worker, "payment_service_tries_left_group_total", [],
        "Slow tries that got an outbox row, so that the message of their group could be acknowledged.";
    TRIES_POSTPONED: Counter, Worker, "payment_service_tries_postponed_total", ["client"],
        "Tries that wait in the outbox because their client has more than its share of this worker can soon start.";
    WORK_FOR_UNKNOWN_PAYMENTS: Counter, Worker, "payment_service_work_for_unknown_payments_total", [],
        "Work messages about payments that are not in this database.";

    OUTBOX_ROWS: Gauge, Each, "payment_service_outbox_rows", [],
        "Messages that are not published yet, including delayed tries.";
    OUTBOX_ROWS_DUE: Gauge, Each, "payment_service_outbox_rows_due", [],
        "Messages that should have been published by now.";
    OUTBOX_ROWS_OF_NO_PAYMENT: Gauge, Each, "payment_service_outbox_rows_of_no_payment", [],
        "Callbacks and other messages of no payment that wait to be published.";
    OUTBOX_ROWS_QUARANTINED: Gauge, Each, "payment_service_outbox_rows_quarantined", [],
        "Outbox rows that are set aside.";
    RELAY_PUBLISHED: Counter, Each, "payment_service_relay_published_total", [],
        "Messages that the broker has confirmed.";
    RELAY_FAILURES: Counter, Each, "payment_service_relay_failures_total", [],
        "Publishes that the broker did not confirm; they are repeated.";
    RELAY_LEFT_TO_SWEEP: Counter, Each, "payment_service_relay_left_to_sweep_total", [],
        "Rows that were left for a sweep because this process was busy.";
    RELAY_SWEPT: Counter, Each, "payment_service_relay_swept_total", [],
        "Rows that a sweep of this process found due.";
    REPLIES_SET_ASIDE: Counter, Each, "payment_service_replies_set_aside_total", [],
        "Replies that could not be delivered and became dead letters.";
    PAYMENTS_DISPATCHED_AGAIN: Counter, Each, "payment_service_payments_dispatched_again_total", [],
        "Payments and operations whose message was lost and that the rescue dispatched again.";

    CALLBACKS_DELIVERED: Counter, Worker, "payment_service_callbacks_delivered_total", ["client"],
        "Callbacks that the receiver accepted.";
    CALLBACKS_FAILED: Counter, Worker, "payment_service_callbacks_failed_total", ["client", "reason"],
        "Calls to receivers that failed.";
    CALLBACKS_GIVEN_UP: Counter, Worker, "payment_service_callbacks_given_up_total", ["client", "reason"],
        "Events that became dead letters because their calls failed for too long.";
    CALLBACKS_DROPPED: Counter, Worker, "payment_service_callbacks_dropped_total", ["client"],
        "Events that were dropped because too many callbacks were waiting.";
    CALLBACKS_FOR_UNKNOWN_PAYMENTS: Counter, Worker, "payment_service_callbacks_for_unknown_payments_total", [],
        "Callbacks about payments that are not in this database.";

    NEEDS_PERSON: Gauge, Each, "payment_service_needs_person", [],
        "Payments, captures, voids and refunds at payment platforms whose result only a person can find out, or that the platform reports otherwise.";

    ROWS_QUARANTINED: Counter, Each, "payment_service_rows_quarantined_total", ["table"],
        "Rows that were set aside because they cannot be read or processed.";
    STORE_BATCH_ROWS: Histogram(ROWS), Each, "payment_service_store_batch_rows", ["batch"],
        "Rows of one transaction.";
    STORE_BATCH_REPEATS: Counter, Each, "payment_service_store_batch_repeats_total", ["batch"],
        "Transactions that were repeated, for example after a deadlock.";
    STORE_ITEMS_REFUSED: Counter, Each, "payment_service_store_items_refused_total", ["batch"],
        "Single commands that the database refused or that caused a panic.";

    STAGE_IN_PROGRESS: Gauge, Each, "payment_service_stage_in_progress", ["stage"],
        "Items in the stage.";
    STAGE_OLDEST_AGE: Gauge, Each, "payment_service_stage_oldest_age_seconds", ["stage"],
        "For how long work has been waiting in the stage without progress.";
    STAGE_LAST_SUCCESS: Gauge, Each, "payment_service_stage_last_success_timestamp_seconds", ["stage"],
        "When an item last left the stage, in seconds since 1970; 0 if none has.";
    STAGE_STUCK: Gauge, Each, "payment_service_stage_stuck", ["stage"],
        "1 while the stage has work but makes no progress, otherwise 0.";
    STAGE_FAILURES: Counter, Each, "payment_service_stage_failures_total", ["stage"],
        "Failures in the stage.";
    PANICS: Counter, Each, "payment_service_panics_total", ["task"],
        "Panics, which are bugs in the program.";
}

impl Metric {
    /// Whether a line of `/metrics` with this name belongs to the metric: lines of a histogram have a suffix.
    pub fn is_line(&self, line_name: &str) -> bool {
        let Some(end) = line_name.strip_prefix(self.name) else {
            return false;
        };
        match self.kind {
            Histogram(_) => matches!(end, "_bucket" | "_sum" | "_count"),
            Counter | Gauge => end.is_empty(),
        }
    }
}
