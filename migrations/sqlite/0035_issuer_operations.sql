-- What the simulated issuer has captured, voided and refunded.
CREATE TABLE IF NOT EXISTS issuer_operations (
    idempotency_key TEXT NOT NULL PRIMARY KEY CHECK (length(idempotency_key) <= 64),
    authorization_key TEXT NOT NULL CHECK (length(authorization_key) <= 64),
    payment_id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) <= 16),
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL CHECK (length(currency) <= 3),
    executed_at TEXT NULL CHECK (length(executed_at) = 26),
    closed_at TEXT NULL CHECK (length(closed_at) = 26),
    failed_at TEXT NULL CHECK (length(failed_at) = 26)
) STRICT, WITHOUT ROWID;
