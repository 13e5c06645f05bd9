//! Fills the database with payments, many in one statement: computed from their ids, so that every run has the same ones.
//! Orders, shoppers and clients are spread as those of shops are; the newest payments are still open.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, Row};

/// The clients, and which of a thousand orders are theirs: from the share of the one before to this one.
pub const CLIENTS: [(&str, u32); 4] = [
    ("store", 600),
    ("market", 900),
    ("tickets", 999),
    ("club", 1000),
];

/// Payments that one statement inserts.
const CHUNK: u64 = 50_000;

const YEAR_MICROS: u64 = 365 * 24 * 3600 * 1_000_000;

/// Every so many payments one has a history and charges, as its timeline needs.
pub const WITH_HISTORY: u64 = 10;

/// The service's tables in the database `bench`, which are empty, get payments with the ids from 1 on.
pub async fn fill(url: &str, payments: u64) {
    let began = Instant::now();
    let mut connection = connect(url).await;
    make_numbers(&mut connection).await;
    let keys = Keys::of(&mut connection, "payments").await;
    // Keys that are made afterwards, from sorted values, take a fraction of the time.
    run(&mut connection, keys.drop_all()).await;
    let now: String = sqlx::query_scalar("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
        .fetch_one(&mut connection)
        .await
        .expect("the time");
    let half = (payments / 2).next_multiple_of(CHUNK).min(payments);
    tokio::join!(
        insert(url, 0..half, (payments, &now)),
        insert(url, half..payments, (payments, &now))
    );
    println!("payments inserted after {:.0?}", began.elapsed());
    run(&mut connection, keys.add_all()).await;
    for statement in SET_ASIDE {
        let statement = statement.replace("{payments}", &payments.to_string());
        run(&mut connection, statement).await;
    }
    for table in ["payments", "payment_events", "operations", "issuer_ledger"] {
        let analyze = format!("ANALYZE TABLE {table}");
        let analyzed = sqlx::query(AssertSqlSafe(analyze))
            .fetch_all(&mut connection)
            .await;
        analyzed.expect("statistics");
    }
    println!("keys made after {:.0?}", began.elapsed());
}

/// The payments of a range of all, which begin at 1.
async fn insert(url: &str, range: std::ops::Range<u64>, (payments, now): (u64, &str)) {
    let mut connection = connect(url).await;
    let step = YEAR_MICROS / payments;
    let mut first = range.start;
    while first < range.end {
        let end = (first + CHUNK).min(range.end);
        for statement in [PAYMENTS, REFUNDS, EVENTS, REFUND_EVENTS, CHARGES] {
            let statement = statement
                .replace("{client}", &client())
                .replace("{first}", &(first + 1).to_string())
                .replace("{last}", &end.to_string())
                .replace("{payments}", &payments.to_string())
                .replace("{now}", now)
                .replace("{step}", &step.to_string())
                .replace("{with_history}", &WITH_HISTORY.to_string());
            run(&mut connection, statement).await;
        }
        first = end;
    }
}

/// The client of an order.
fn client() -> String {
    let cases = CLIENTS.map(|(name, up_to)| {
        format!("WHEN CRC32(CONCAT('client', order_id)) % 1000 < {up_to} THEN '{name}'")
    });
    format!("CASE {} END", cases.join(" "))
}

async fn connect(url: &str) -> MySqlConnection {
    let mut connection = MySqlConnection::connect(url)
        .await
        .expect("the database server");
    for statement in [
        "SET SESSION sql_log_bin = 0",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ] {
        run(&mut connection, statement.to_owned()).await;
    }
    connection
}

async fn run(connection: &mut MySqlConnection, statement: String) {
    let done = connection.execute(AssertSqlSafe(statement)).await;
    done.expect("a statement");
}

/// The numbers from 0 to [`CHUNK`], exclusive.
async fn make_numbers(connection: &mut MySqlConnection) {
    for statement in [
        "CREATE DATABASE numbers",
        "CREATE TABLE numbers.digits (n INT PRIMARY KEY)",
        "INSERT INTO numbers.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
        "CREATE TABLE numbers.numbers (n INT PRIMARY KEY)",
        "INSERT INTO numbers.numbers
         SELECT a.n * 10000 + b.n * 1000 + c.n * 100 + d.n * 10 + e.n
         FROM numbers.digits AS a, numbers.digits AS b, numbers.digits AS c, numbers.digits AS d, numbers.digits AS e
         WHERE a.n < 5",
    ] {
        run(connection, statement.to_owned()).await;
    }
}

/// The secondary keys of a table.
struct Keys {
    table: &'static str,
    /// Name, whether it is unique, columns.
    keys: Vec<(String, bool, String)>,
}

impl Keys {
    async fn of(connection: &mut MySqlConnection, table: &'static str) -> Self {
        let rows = sqlx::query(
            "SELECT CAST(index_name AS CHAR), MAX(non_unique) = 0,
                 CAST(GROUP_CONCAT(column_name ORDER BY seq_in_index) AS CHAR)
             FROM information_schema.statistics
             WHERE table_schema = DATABASE() AND table_name = ? AND index_name <> 'PRIMARY'
             GROUP BY index_name",
        )
        .bind(table)
        .fetch_all(connection)
        .await
        .expect("the keys");
        let keys = rows
            .iter()
            .map(|row| (row.get(0), row.get::<i64, _>(1) == 1, row.get(2)));
        Self {
            table,
            keys: keys.collect(),
        }
    }

    fn drop_all(&self) -> String {
        let drops = self
            .keys
            .iter()
            .map(|(name, ..)| format!("DROP KEY {name}"));
        format!(
            "ALTER TABLE {} {}",
            self.table,
            drops.collect::<Vec<_>>().join(", ")
        )
    }

    fn add_all(&self) -> String {
        let adds = self.keys.iter().map(|(name, is_unique, columns)| {
            let unique = if *is_unique { "UNIQUE" } else { "" };
            format!("ADD {unique} KEY {name} ({columns})")
        });
        format!(
            "ALTER TABLE {} {}",
            self.table,
            adds.collect::<Vec<_>>().join(", ")
        )
    }
}

/// A year of payments, until now. A fifth of the orders have two, and one in a hundred is that of a guest; all guests are the
/// same shopper. Of ten thousand payments 9,000 succeeded, 180 of them with a refund; those of the last week may also be
/// authorized, and the last ones are processing or wait for their shopper. The limits only make the server compute the inner values once.
const PAYMENTS: &str = "
INSERT INTO payments (
    id, client, order_id, user_id, amount_minor, currency, status, decline_code, authorization_code, card_brand,
    card_last4, card_expiration, attempt, metadata, sequence, created_at, updated_at, try_number, phase, uncertain,
    idempotency_key, fingerprint, origin, method, capture_method, stage, captured_minor, refunded_minor, reserved_minor,
    capture_before
)
SELECT
    id, {client}, order_id,
    IF(chance % 100 = 7, 1, 1 + CRC32(CONCAT('user', order_id)) % GREATEST({payments} DIV 20, 1)),
    amount, 'CAD',
    CASE WHEN stage IS NULL THEN shown ELSE 'processing' END,
    CASE shown WHEN 'declined' THEN 'insufficient_funds' WHEN 'failed' THEN 'processor_unavailable' END,
    IF(shown IN ('succeeded', 'requires_capture'), LPAD(HEX(CRC32(id)), 8, '0'), NULL),
    IF(has_card, 'visa', NULL), IF(has_card, '4242', NULL), IF(has_card, '2030-01', NULL), has_card,
    CONCAT('{\"cart\":\"cart-', id, '\"}'), IF(has_card, 3, 1), created_at, created_at + INTERVAL 1 SECOND,
    has_card, 'authorize', 0, LEFT(SHA2(CONCAT('key', id), 256), 32), UNHEX(SHA2(id, 256)), '{}',
    IF(has_card, '1 card credit', NULL),
    IF(stage = 'requires_capture', 'manual', NULL), stage,
    IF(is_refunded, amount, NULL), IF(is_refunded, amount DIV 2, NULL), IF(is_refunded, 0, NULL),
    IF(stage = 'requires_capture', created_at + INTERVAL 7 DAY, NULL)
FROM (
    SELECT
        drawn.*,
        IF(shown IN ('requires_action', 'requires_capture'), shown, NULL) AS stage,
        IF(shown IN ('requires_payment_method', 'canceled'), 0, 1) AS has_card,
        shown = 'succeeded' AND chance % 50 = 0 AS is_refunded
    FROM (
        SELECT
            id, order_id, chance, 100 + CRC32(CONCAT('amount', id)) % 50000 AS amount,
            TIMESTAMP'{now}' - INTERVAL ({payments} - id) * {step} + CRC32(CONCAT('moment', id)) % 4000000 MICROSECOND
                AS created_at,
            CASE
                WHEN id > {payments} - 100 THEN 'processing'
                WHEN id > {payments} - 200 THEN 'requires_action'
                WHEN id > {payments} DIV 365 * 358 AND chance < 100 THEN 'requires_capture'
                WHEN chance < 9000 THEN 'succeeded'
                WHEN chance < 9600 THEN 'declined'
                WHEN chance < 9700 THEN 'failed'
                WHEN chance < 9800 THEN 'canceled'
                ELSE 'requires_payment_method'
            END AS shown
        FROM (
            SELECT
                n + {first} AS id, n + {first} - IF((n + {first}) % 5 = 4, 1, 0) AS order_id,
                CRC32(CONCAT('chance', n + {first})) % 10000 AS chance
            FROM numbers.numbers WHERE n + {first} <= {last} LIMIT 1000000
        ) AS identified
        LIMIT 1000000
    ) AS drawn
) AS payment
ORDER BY id";

/// The ids are UUIDs of version 7, as the service makes them.
const REFUNDS: &str = "
INSERT INTO operations (
    id, payment_id, client, kind, amount_minor, currency, status, reason, client_reference, created_at, updated_at,
    try_number, phase, uncertain, idempotency_key, fingerprint, origin
)
SELECT
    UNHEX(CONCAT(
        LPAD(HEX(FLOOR(UNIX_TIMESTAMP(created_at) * 1000)), 12, '0'), '7', LEFT(SHA2(id, 256), 3), '8', RIGHT(SHA2(id, 256), 15)
    )),
    id, client, 'refund', refunded_minor, currency, 'succeeded', 'returned by the shopper', CONCAT('return-', id),
    created_at, created_at, 1, 'execute', 0, LEFT(SHA2(CONCAT('refund', id), 256), 32), UNHEX(SHA2(id, 256)), '{}'
FROM payments WHERE id BETWEEN {first} AND {last} AND refunded_minor IS NOT NULL";

const EVENTS: &str = "
INSERT INTO payment_events (id, payment_id, sequence, kind, happened_at, attempt, try_number)
SELECT
    UNHEX(LEFT(SHA2(CONCAT(id, '-', digits.n), 256), 32)), id, digits.n,
    CASE digits.n WHEN 1 THEN 'accepted' WHEN 2 THEN 'attempt_started' ELSE COALESCE(stage, status) END,
    created_at + INTERVAL digits.n SECOND, digits.n > 1, digits.n > 1
FROM payments, numbers.digits
WHERE id BETWEEN {first} AND {last} AND (id % {with_history} = 0 OR refunded_minor IS NOT NULL)
    AND digits.n BETWEEN 1 AND payments.sequence
    AND (digits.n < 3 OR COALESCE(stage, status) NOT IN ('processing'))
ORDER BY id, digits.n";

const REFUND_EVENTS: &str = "
INSERT INTO payment_events (id, payment_id, sequence, kind, happened_at, attempt, try_number)
SELECT
    UNHEX(LEFT(SHA2(CONCAT(id, '-', digits.n), 256), 32)), id, digits.n, IF(digits.n = 4, 'refund_started', 'refund_succeeded'),
    created_at + INTERVAL digits.n SECOND, 1, 1
FROM payments, numbers.digits
WHERE id BETWEEN {first} AND {last} AND refunded_minor IS NOT NULL AND digits.n BETWEEN 4 AND 5
ORDER BY id, digits.n";

const CHARGES: &str = "
INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, charged_at, currency)
SELECT CONCAT(id, '-1'), id, amount_minor, created_at, currency FROM payments
WHERE id BETWEEN {first} AND {last} AND id % {with_history} = 0 AND status = 'succeeded'";

/// A few rows of each kind that an operator has to look at.
const SET_ASIDE: [&str; 3] = [
    "UPDATE payments SET quarantined = 'metadata: cannot be read'
     WHERE id IN ({payments} - 2001, {payments} - 4001, {payments} - 6001)",
    "UPDATE operations SET quarantined = 'origin: cannot be read' ORDER BY id DESC LIMIT 2",
    "INSERT INTO outbox (id, payment_id, due_at, publication, lane, quarantined)
     SELECT UNHEX(LEFT(SHA2(n, 256), 32)), n, UTC_TIMESTAMP(6), '{}', 'aside', 'publication: cannot be read' FROM numbers.digits",
];
