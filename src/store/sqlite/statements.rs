//! The statements in SQLite's SQL.
//!
//! Rows are passed as one JSON parameter through `json_each`, read by position. There are no row locks: a transaction is
//! the only writer from its beginning. `WHERE true` tells the parser that the `ON` after it does not belong to a join.

use crate::store::engine::Statements;
use crate::store::many::ManyRows::Json;

/// The statements.
pub static STATEMENTS: Statements = Statements {
    payments_by_keys: Json("
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments
    ON payments.client = wanted.value ->> '$[0]'
    AND payments.idempotency_key = unhex(wanted.value ->> '$[1]')"),
    payment_ids_by_keys: Json(
        "
SELECT payments.id FROM json_each(?1) AS wanted
CROSS JOIN payments
    ON payments.client = wanted.value ->> '$[0]'
    AND payments.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
    lock_payments: Json("
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'"),
    read_payments: Json("
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'"),
    insert_payments: Json("
INSERT INTO payments (
    id, client, order_id, user_id, amount_minor, currency, status, decline_code, authorization_code,
    card_brand, card_last4, card_expiration, attempt, metadata, sequence, created_at, updated_at, try_number,
    phase, uncertain, sealed_card, claimed_until, check_at, idempotency_key, fingerprint, origin,
    return_url
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    value ->> '$[5]', value ->> '$[6]', value ->> '$[7]', value ->> '$[8]', value ->> '$[9]',
    value ->> '$[10]', value ->> '$[11]', value ->> '$[12]', value ->> '$[13]', value ->> '$[14]',
    value ->> '$[15]', value ->> '$[16]', value ->> '$[17]', value ->> '$[18]', value ->> '$[19]',
    unhex(value ->> '$[20]'), value ->> '$[21]', value ->> '$[22]', unhex(value ->> '$[23]'),
    unhex(value ->> '$[24]'), value ->> '$[25]', value ->> '$[26]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"),
    update_payments: Json("
UPDATE payments SET
    status = value ->> '$[1]', decline_code = value ->> '$[2]', authorization_code = value ->> '$[3]',
    card_brand = value ->> '$[4]', card_last4 = value ->> '$[5]', card_expiration = value ->> '$[6]',
    attempt = value ->> '$[7]', sequence = value ->> '$[8]', updated_at = value ->> '$[9]',
    try_number = value ->> '$[10]', phase = value ->> '$[11]', uncertain = value ->> '$[12]',
    sealed_card = unhex(value ->> '$[13]'), claimed_until = value ->> '$[14]', check_at = value ->> '$[15]',
    pending_code = value ->> '$[16]'
FROM json_each(?1) WHERE payments.id = value ->> '$[0]'"),
    end_payments: Json("
UPDATE payments SET
    status = ?2, decline_code = ?3, attempt = ?4, sequence = ?5, updated_at = ?6, try_number = ?7, phase = ?8,
    uncertain = ?9, pending_code = ?10, sealed_card = NULL, claimed_until = NULL, check_at = NULL,
    authorization_code = value ->> '$[1]'
FROM json_each(?1) WHERE payments.id = value ->> '$[0]'"),
    claim_payments: Json("
UPDATE payments SET claimed_until = ?2
WHERE id IN (SELECT value ->> '$[0]' FROM json_each(?1))"),
    lock_forgotten_payments: Json("
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'
WHERE payments.check_at <= ?2 AND payments.quarantined IS NULL AND payments.id NOT IN (
    SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane <> 'aside')"),
    insert_events: Json("
INSERT INTO payment_events (
    id, payment_id, sequence, kind, happened_at, attempt, try_number, reason
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    value ->> '$[5]', value ->> '$[6]', value ->> '$[7]'
FROM json_each(?1) WHERE true
ON CONFLICT DO UPDATE SET sequence = iif(payment_events.id = excluded.id, payment_events.sequence, NULL)"),
    existing_events: Json("
SELECT payment_events.id FROM json_each(?1) AS wanted
CROSS JOIN payment_events
    ON payment_events.payment_id = wanted.value ->> '$[0]'
    AND payment_events.id = unhex(wanted.value ->> '$[1]')"),
    read_events: Json("
SELECT payment_events.* FROM json_each(?1) AS wanted
CROSS JOIN payment_events
    ON payment_events.payment_id = wanted.value ->> '$[0]'
    AND payment_events.sequence = wanted.value ->> '$[1]'"),
    insert_outbox: Json("
INSERT INTO outbox (
    id, payment_id, due_at, publication, lane
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"),
    delete_outbox: Json("
DELETE FROM outbox
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))"),
    lock_due_outbox: "
SELECT * FROM outbox WHERE lane = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3",
    lock_facts: "
SELECT * FROM outbox WHERE lane IN ('try', 'result', 'reply') ORDER BY id LIMIT ?1",
    postpone_outbox: Json("
UPDATE outbox SET due_at = ?2
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))"),
    insert_tokens: Json("
INSERT INTO card_tokens (
    id, client, card_brand, card_last4, card_expiration, sealed_card, expires_at, used_by, erase_at
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    unhex(value ->> '$[5]'), value ->> '$[6]', value ->> '$[7]',
    iif(value ->> '$[5]' IS NULL, NULL, value ->> '$[6]')
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"),
    lock_tokens: Json("
SELECT * FROM card_tokens
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1)) ORDER BY id"),
    use_tokens: Json("
UPDATE card_tokens SET used_by = value ->> '$[1]', sealed_card = NULL, erase_at = NULL
FROM json_each(?1) WHERE card_tokens.id = unhex(value ->> '$[0]')"),
    lock_expired_tokens: "SELECT id FROM card_tokens WHERE erase_at < ?1 ORDER BY erase_at LIMIT ?2",
    erase_tokens: Json("
UPDATE card_tokens SET sealed_card = NULL, erase_at = NULL
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))"),
    ledger_charge: Json("
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, charged_at, currency
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"),
    ledger_reverse: Json("
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, reversed_at, currency
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT (idempotency_key) DO UPDATE SET reversed_at = coalesce(reversed_at, excluded.reversed_at)"),
    ledger_entries: Json("
SELECT * FROM issuer_ledger
WHERE idempotency_key IN (SELECT value ->> '$[0]' FROM json_each(?1)) ORDER BY idempotency_key"),
    lock_next_id: "SELECT next_id FROM id_blocks WHERE id = 1",
    insert_next_id: "INSERT INTO id_blocks (id, next_id) VALUES (1, ?1) ON CONFLICT DO NOTHING",
    version: "SELECT sqlite_version()",
    room: None,
};
