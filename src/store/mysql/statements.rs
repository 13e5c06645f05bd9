//! The statements in the SQL that MySQL 8.4 and MariaDB 10.6 share.
//!
//! - Statements that every payment needs list their rows; the others take one JSON parameter through `JSON_TABLE`, read by
//!   position (cheaper than by name).
//! - `IN` with `FORCE INDEX` looks up each key, whatever the table's size, in SELECT and UPDATE. In DELETE, MariaDB
//!   ignores the hint and scans a small table, which waits for the locks of others: hence a join there.
//! - `ERROR ON ERROR`: by default, values that cannot be converted become null. Even so, MariaDB silently shortens a text
//!   to the width given here; hence each is one wider than its column (numbers are BIGINT, points in time are texts), and
//!   the insert itself refuses values that do not fit, in strict mode.
//! - `CONCAT` of one long text: MariaDB silently copies a longer text column into a shorter one by its length modulo 65536;
//!   the result of a function is checked.
//! - `STRAIGHT_JOIN` and `FORCE INDEX`: otherwise both optimizers may scan a small table for a join, which would lock all
//!   of it; the rows are read first, in their order, and each looks up its one row by key.
//! - Existing, locked rows are changed by UPDATE if they change alike. One value may differ for each row:
//!   `ELT(FIELD(id, …), …)` finds it by the position of the row's id among the ids.
//! - Rows that change differently are inserted again: `ON DUPLICATE KEY UPDATE` takes lists of rows, which UPDATE does not.
//!   This costs the database a third more, since it tries the insert first. `VALUES()` is the only syntax for this that
//!   both servers have, although MySQL calls it deprecated. Columns that never change are constants, since INSERT requires
//!   them; they are not written.
//! - `ON DUPLICATE KEY UPDATE id = id` instead of `INSERT IGNORE`, which turns every error into a warning.
//! - The derived table in locking reads: MySQL refuses a lock over `JSON_TABLE` itself (error 3569).

use crate::store::engine::Statements;
use crate::store::many::ManyRows::{self, Json};

/// The statements.
pub static STATEMENTS: Statements = Statements {
    payments_by_keys: Json("
SELECT payments.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payments FORCE INDEX (payments_by_key)
    ON payments.client = given.client COLLATE ascii_bin
    AND payments.idempotency_key = UNHEX(given.idempotency_key)"),
    payment_ids_by_keys: Json(
        "
SELECT payments.id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payments FORCE INDEX (payments_by_key)
    ON payments.client = given.client COLLATE ascii_bin
    AND payments.idempotency_key = UNHEX(given.idempotency_key)",
    ),
    lock_payments: ManyRows::keys(
        "SELECT * FROM payments FORCE INDEX (PRIMARY) WHERE id IN (",
        ") ORDER BY id FOR UPDATE",
    ),
    read_payments: ManyRows::keys(
        "SELECT * FROM payments FORCE INDEX (PRIMARY) WHERE id IN (",
        ") ORDER BY id",
    ),
    insert_payments: ManyRows::values(
        "
INSERT INTO payments (
    id, client, order_id, user_id, amount_minor, currency, status, decline_code, authorization_code,
    card_brand, card_last4, card_expiration, attempt, metadata, sequence, created_at, updated_at, try_number,
    phase, uncertain, sealed_card, claimed_until, check_at, idempotency_key, fingerprint, origin, return_url
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE id = payments.id",
    ),
    update_payments: ManyRows::values(
        "
INSERT INTO payments (
    id, status, decline_code, authorization_code, card_brand, card_last4, card_expiration, attempt,
    sequence, updated_at, try_number, phase, uncertain, sealed_card, claimed_until, check_at, pending_code,
    client, order_id, user_id, amount_minor, currency, metadata, created_at, origin
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0, 0, '', '', '2000-01-01', '')",
        "
ON DUPLICATE KEY UPDATE
    status = VALUES(status),
    decline_code = VALUES(decline_code),
    authorization_code = VALUES(authorization_code),
    card_brand = VALUES(card_brand),
    card_last4 = VALUES(card_last4),
    card_expiration = VALUES(card_expiration),
    attempt = VALUES(attempt),
    sequence = VALUES(sequence),
    updated_at = VALUES(updated_at),
    try_number = VALUES(try_number),
    phase = VALUES(phase),
    uncertain = VALUES(uncertain),
    sealed_card = VALUES(sealed_card),
    claimed_until = VALUES(claimed_until),
    check_at = VALUES(check_at),
    pending_code = VALUES(pending_code)",
    ),
    end_payments: ManyRows::by_key([
        "
UPDATE payments FORCE INDEX (PRIMARY) SET
    status = ?, decline_code = ?, attempt = ?, sequence = ?, updated_at = ?, try_number = ?, phase = ?,
    uncertain = ?, pending_code = ?, sealed_card = NULL, claimed_until = NULL, check_at = NULL,
    authorization_code = ELT(FIELD(id, ",
        "), ",
        ") WHERE id IN (",
        ")",
    ]),
    claim_payments: ManyRows::keys(
        "UPDATE payments FORCE INDEX (PRIMARY) SET claimed_until = ? WHERE id IN (",
        ")",
    ),
    lock_forgotten_payments: Json("
SELECT payments.* FROM (SELECT given.id AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id BIGINT PATH '$[0]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN payments FORCE INDEX (PRIMARY) ON payments.id = wanted.id
WHERE payments.check_at <= ? AND payments.quarantined IS NULL AND payments.id NOT IN (
    SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane <> 'aside')
FOR UPDATE SKIP LOCKED"),
    insert_events: ManyRows::values(
        "
INSERT INTO payment_events (id, payment_id, sequence, kind, happened_at, attempt, try_number, reason) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE sequence = IF(payment_events.id = VALUES(id), payment_events.sequence, NULL)",
    ),
    existing_events: Json("
SELECT payment_events.id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    payment_id BIGINT PATH '$[0]' ERROR ON ERROR,
    id LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payment_events FORCE INDEX (PRIMARY)
    ON payment_events.payment_id = given.payment_id AND payment_events.id = UNHEX(given.id)"),
    read_events: Json("
SELECT payment_events.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    payment_id BIGINT PATH '$[0]' ERROR ON ERROR,
    sequence BIGINT PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payment_events FORCE INDEX (PRIMARY)
    ON payment_events.payment_id = given.payment_id AND payment_events.sequence = given.sequence"),
    insert_outbox: ManyRows::values(
        "INSERT INTO outbox (id, payment_id, due_at, publication, lane) VALUES ",
        "(?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE id = outbox.id",
    ),
    delete_outbox: Json("
DELETE outbox FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = UNHEX(given.id)"),
    lock_due_outbox: "
SELECT * FROM outbox FORCE INDEX (outbox_due)
WHERE lane = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?
FOR UPDATE SKIP LOCKED",
    lock_facts: "
SELECT * FROM outbox WHERE lane IN ('try', 'result', 'reply') ORDER BY id LIMIT ? FOR UPDATE",
    postpone_outbox: Json("
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = UNHEX(given.id)
SET outbox.due_at = ?"),
    insert_tokens: Json("
INSERT INTO card_tokens (
    id, client, card_brand, card_last4, card_expiration, sealed_card, expires_at, used_by, erase_at
)
SELECT
    UNHEX(given.id), given.client, given.card_brand, given.card_last4, given.card_expiration,
    UNHEX(given.sealed_card), given.expires_at, given.used_by,
    IF(given.sealed_card IS NULL, NULL, given.expires_at)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    client VARCHAR(65) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON ERROR,
    card_brand VARCHAR(17) CHARACTER SET utf8mb4 PATH '$[2]' ERROR ON ERROR,
    card_last4 VARCHAR(5) CHARACTER SET utf8mb4 PATH '$[3]' ERROR ON ERROR,
    card_expiration VARCHAR(8) CHARACTER SET utf8mb4 PATH '$[4]' ERROR ON ERROR,
    sealed_card LONGTEXT CHARACTER SET ascii PATH '$[5]' ERROR ON ERROR,
    expires_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[6]' ERROR ON ERROR,
    used_by BIGINT PATH '$[7]' ERROR ON ERROR
)) AS given
ON DUPLICATE KEY UPDATE id = card_tokens.id"),
    lock_tokens: Json("
SELECT card_tokens.* FROM (SELECT UNHEX(given.id) AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = wanted.id
FOR UPDATE"),
    use_tokens: Json("
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    used_by BIGINT PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = UNHEX(given.id)
SET card_tokens.used_by = given.used_by, card_tokens.sealed_card = NULL, card_tokens.erase_at = NULL"),
    lock_expired_tokens: "
SELECT id FROM card_tokens FORCE INDEX (card_tokens_to_erase)
WHERE erase_at < ? ORDER BY erase_at LIMIT ?
FOR UPDATE SKIP LOCKED",
    erase_tokens: Json("
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN card_tokens FORCE INDEX (PRIMARY) ON card_tokens.id = UNHEX(given.id)
SET card_tokens.sealed_card = NULL, card_tokens.erase_at = NULL"),
    ledger_charge: ManyRows::values(
        "INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, charged_at, currency) VALUES ",
        "(?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE idempotency_key = issuer_ledger.idempotency_key",
    ),
    ledger_reverse: Json("
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, reversed_at, currency
)
SELECT
    given.idempotency_key, given.payment_id, given.amount_minor, given.reversed_at, given.currency
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    idempotency_key VARCHAR(65) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON ERROR,
    payment_id BIGINT PATH '$[1]' ERROR ON ERROR,
    amount_minor BIGINT PATH '$[2]' ERROR ON ERROR,
    reversed_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[3]' ERROR ON ERROR,
    currency VARCHAR(4) CHARACTER SET utf8mb4 PATH '$[4]' ERROR ON ERROR
)) AS given
ON DUPLICATE KEY UPDATE reversed_at = COALESCE(issuer_ledger.reversed_at, given.reversed_at)"),
    ledger_entries: ManyRows::keys(
        "SELECT * FROM issuer_ledger FORCE INDEX (PRIMARY) WHERE idempotency_key IN (",
        ")",
    ),
    lock_next_id: "SELECT next_id FROM id_blocks WHERE id = 1 FOR UPDATE",
    insert_next_id: "INSERT INTO id_blocks (id, next_id) VALUES (1, ?) ON DUPLICATE KEY UPDATE id = id_blocks.id",
    version: "SELECT VERSION()",
    room: Some("SELECT CAST(@@max_connections AS SIGNED), CAST(@@max_prepared_stmt_count AS SIGNED)"),
};
