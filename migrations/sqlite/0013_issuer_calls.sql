-- How often the simulated issuer was called for a key. Only for test cards that need the number.
CREATE TABLE IF NOT EXISTS issuer_calls (
    idempotency_key TEXT NOT NULL PRIMARY KEY CHECK (length(idempotency_key) <= 64),
    calls INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
