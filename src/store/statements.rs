//! The statements that both databases understand. Columns are read by name, so `*` is safe when a later version adds
//! one.

/// (id) → payment
pub const PAYMENT: &str = "SELECT * FROM payments WHERE id = ?";

/// (client, hexadecimal key) → payment
pub const PAYMENT_BY_KEY: &str =
    "SELECT * FROM payments WHERE client = ? AND idempotency_key = UNHEX(?)";

/// (client, latest `created_at` twice, id, status or null twice, limit) → payments. The row comparison is spelled
/// out, with a plain bound before it, because neither MySQL nor MariaDB reads an index by `(a, b) < (?, ?)`.
pub const PAYMENTS_BY_CLIENT: &str = "
SELECT * FROM payments
WHERE client = ? AND created_at <= ? AND (created_at < ? OR id < ?) AND status = COALESCE(?, status)
ORDER BY created_at DESC, id DESC LIMIT ?";

/// As [`PAYMENTS_BY_CLIENT`], with the user after the client.
pub const PAYMENTS_BY_USER: &str = "
SELECT * FROM payments
WHERE client = ? AND user_id = ?
  AND created_at <= ? AND (created_at < ? OR id < ?) AND status = COALESCE(?, status)
ORDER BY created_at DESC, id DESC LIMIT ?";

/// As [`PAYMENTS_BY_CLIENT`], with the order and the user (or null) after the client.
pub const PAYMENTS_BY_ORDER: &str = "
SELECT * FROM payments
WHERE client = ? AND order_id = ? AND user_id = COALESCE(?, user_id)
  AND created_at <= ? AND (created_at < ? OR id < ?) AND status = COALESCE(?, status)
ORDER BY created_at DESC, id DESC LIMIT ?";

/// (payment id, the subject of its events as in a publication) → outbox rows. There is no index on the payment: it would
/// have to be written for every payment.
pub const OUTBOX_ABOUT: &str = "
SELECT * FROM outbox
WHERE payment_id = ? OR (payment_id IS NULL AND INSTR(publication, ?) > 0)
ORDER BY due_at LIMIT 100";

/// (client) → the next client by name that has a payment, or null
pub const CLIENT_AFTER: &str = "SELECT MIN(client) FROM payments WHERE client > ?";

/// (payment id) → events
pub const EVENTS: &str = "SELECT * FROM payment_events WHERE payment_id = ? ORDER BY sequence";

/// (hexadecimal id) → token
pub const TOKEN: &str = "SELECT * FROM card_tokens WHERE id = UNHEX(?)";

/// (now) → all rows, rows that are due, rows that belong to a payment; then those that are set aside
pub const OUTBOX_DEPTH: &str = "
SELECT (SELECT COUNT(*) FROM outbox WHERE lane <> 'aside'),
    (SELECT COUNT(*) FROM outbox WHERE lane <> 'aside' AND due_at <= ?),
    (SELECT COUNT(payment_id) FROM outbox WHERE lane <> 'aside'),
    (SELECT COUNT(*) FROM outbox WHERE lane = 'aside')";

/// (reason, id). The first reason stays.
pub const QUARANTINE_PAYMENT: &str =
    "UPDATE payments SET quarantined = COALESCE(quarantined, ?) WHERE id = ?";

/// (reason, hexadecimal id). Moves the row out of the swept lanes, so that the sweep's index no longer contains it.
pub const QUARANTINE_OUTBOX: &str =
    "UPDATE outbox SET quarantined = COALESCE(quarantined, ?), lane = 'aside' WHERE id = UNHEX(?)";

/// () → a row, if any was released. Locks nothing: usually there is none.
pub const OUTBOX_IS_RELEASED: &str =
    "SELECT id FROM outbox WHERE lane = 'aside' AND quarantined IS NULL LIMIT 1";

/// (now). It does not matter which sweep finds them: the message decides where it goes. A fact must not be found by a
/// release without facts.
pub const RELEASE_OUTBOX: &str = r#"
UPDATE outbox SET lane = CASE WHEN publication LIKE '{"fact"%' THEN 'try' ELSE 'work' END, due_at = ?
WHERE lane = 'aside' AND quarantined IS NULL"#;

/// (lowest key, first key beyond) → ledger entries
pub const LEDGER_BETWEEN: &str = "
SELECT * FROM issuer_ledger WHERE idempotency_key >= ? AND idempotency_key < ? ORDER BY idempotency_key";

/// (client twice) → a row, if other clients have payments. Two ranges of an index; `<>` would read all of it.
pub const OTHERS_THAN: &str = "
SELECT id FROM payments WHERE client < ? OR client > ? LIMIT 1";

/// (now twice)
pub const END_ALL_CLAIMS: &str = "
UPDATE payments
SET check_at = ?, claimed_until = CASE WHEN claimed_until IS NULL THEN NULL ELSE ? END
WHERE check_at IS NOT NULL";

/// () → version, checksum, success
pub const APPLIED_MIGRATIONS: &str =
    "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";

/// (now, limit) → ids of payments without a message under way. Locks nothing: usually there are none.
pub const FORGOTTEN_PAYMENTS: &str = "
SELECT id FROM payments
WHERE check_at <= ? AND quarantined IS NULL
    AND id NOT IN (SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane <> 'aside')
ORDER BY check_at LIMIT ?";

/// (lane, now, lane, now) → the lanes in which anything is due. Locks nothing: usually there is nothing.
pub const OUTBOX_IS_DUE: &str = "
SELECT CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE lane = ? AND due_at <= ?) THEN 1 ELSE 0 END,
    CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE lane = ? AND due_at <= ?) THEN 1 ELSE 0 END";

/// (now) → a row, if any card must be erased. Locks nothing: usually there is none.
pub const TOKENS_ARE_EXPIRED: &str = "SELECT id FROM card_tokens WHERE erase_at < ? LIMIT 1";

/// () → the largest payment id
pub const LARGEST_ID: &str = "SELECT COALESCE(MAX(id), 0) FROM payments";

/// (lane, time) → a row, if any is due later. Locks nothing: usually there is none.
pub const OUTBOX_IS_AHEAD: &str = "SELECT 1 FROM outbox WHERE lane = ? AND due_at > ? LIMIT 1";

/// (now, lane, time)
pub const BRING_OUTBOX_BACK: &str = "UPDATE outbox SET due_at = ? WHERE lane = ? AND due_at > ?";

/// (time) → a row, if any payment is due for its check later. Locks nothing: usually there is none.
pub const CHECK_IS_AHEAD: &str = "SELECT 1 FROM payments WHERE check_at > ? LIMIT 1";

/// (now, time)
pub const BRING_CHECK_BACK: &str = "UPDATE payments SET check_at = ? WHERE check_at > ?";

/// (time) → a row, if any card is due to be erased later. Locks nothing: usually there is none.
pub const TOKEN_IS_AHEAD: &str = "SELECT 1 FROM card_tokens WHERE erase_at > ? LIMIT 1";

/// (latest expiry twice, time)
pub const BRING_TOKENS_BACK: &str =
    "UPDATE card_tokens SET expires_at = ?, erase_at = ? WHERE erase_at > ?";

/// (first id that is not reserved)
pub const UPDATE_NEXT_ID: &str = "UPDATE id_blocks SET next_id = ? WHERE id = 1";
