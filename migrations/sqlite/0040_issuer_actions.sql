-- The pages on which shoppers approve attempts at the simulated issuer.
CREATE TABLE IF NOT EXISTS issuer_actions (
    idempotency_key TEXT NOT NULL PRIMARY KEY CHECK (length(idempotency_key) <= 64),
    secret TEXT NOT NULL UNIQUE CHECK (length(secret) <= 64),
    payment_id INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL CHECK (length(currency) <= 3),
    held INTEGER NOT NULL CHECK (held IN (0, 1)),
    test_card TEXT NULL CHECK (length(test_card) <= 64),
    return_to TEXT NOT NULL,
    expires_at TEXT NOT NULL CHECK (length(expires_at) = 26),
    answer TEXT NULL CHECK (length(answer) <= 64)
) STRICT, WITHOUT ROWID;
