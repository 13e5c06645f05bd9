-- Every index is written on the way of each payment, and these two answered no question of their own.

-- A history is read by its payment, in order. Which of some events are there is asked together with their payments.
CREATE TABLE payment_events_in_order (
    id BLOB NOT NULL CHECK (length(id) = 16),
    payment_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) <= 32),
    happened_at TEXT NOT NULL CHECK (length(happened_at) = 26),
    attempt INTEGER NOT NULL,
    try_number INTEGER NOT NULL,
    reason TEXT NULL CHECK (length(reason) <= 64),
    PRIMARY KEY (payment_id, sequence)
) STRICT, WITHOUT ROWID;

INSERT INTO payment_events_in_order (id, payment_id, sequence, kind, happened_at, attempt, try_number, reason)
SELECT id, payment_id, sequence, kind, happened_at, attempt, try_number, reason FROM payment_events;
DROP TABLE payment_events;
ALTER TABLE payment_events_in_order RENAME TO payment_events;

-- The audit counts the charges of all payments in one go.
DROP INDEX issuer_ledger_by_payment;
