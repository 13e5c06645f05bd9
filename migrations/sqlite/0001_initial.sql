-- The same tables as for MySQL. STRICT, and CHECK on every length: SQLite itself would keep anything, and both
-- databases are to refuse the same rows. Times are UTC texts of one width, `YYYY-MM-DD HH:MM:SS.ffffff`, that sort.

CREATE TABLE payments (
    id INTEGER NOT NULL PRIMARY KEY,
    client TEXT NOT NULL CHECK (length(client) <= 64),
    order_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL CHECK (length(currency) <= 3),
    status TEXT NOT NULL CHECK (length(status) <= 32),
    decline_code TEXT NULL CHECK (length(decline_code) <= 64),
    authorization_code TEXT NULL CHECK (length(authorization_code) <= 64),
    card_brand TEXT NULL CHECK (length(card_brand) <= 16),
    card_last4 TEXT NULL CHECK (length(card_last4) <= 4),
    card_expiration TEXT NULL CHECK (length(card_expiration) <= 7),
    attempt INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    created_at TEXT NOT NULL CHECK (length(created_at) = 26),
    updated_at TEXT NOT NULL CHECK (length(updated_at) = 26),
    try_number INTEGER NOT NULL,
    phase TEXT NOT NULL CHECK (length(phase) <= 16),
    uncertain INTEGER NOT NULL,
    sealed_card BLOB NULL CHECK (length(sealed_card) <= 1024),
    claimed_until TEXT NULL CHECK (length(claimed_until) = 26),
    check_at TEXT NULL CHECK (length(check_at) = 26),
    idempotency_key BLOB NULL CHECK (length(idempotency_key) <= 255),
    fingerprint BLOB NULL CHECK (length(fingerprint) = 32),
    origin TEXT NOT NULL CHECK (length(origin) <= 65535)
) STRICT;

-- One payment per key: decides races.
CREATE UNIQUE INDEX payments_by_key ON payments (client, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The lists, newest first.
CREATE INDEX payments_by_client ON payments (client, created_at, id);
CREATE INDEX payments_by_order ON payments (client, order_id, created_at);
CREATE INDEX payments_by_user ON payments (client, user_id, created_at);
-- Which ones the last net looks at.
CREATE INDEX payments_to_check ON payments (check_at) WHERE check_at IS NOT NULL;

CREATE TABLE payment_events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    payment_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) <= 32),
    happened_at TEXT NOT NULL CHECK (length(happened_at) = 26),
    attempt INTEGER NOT NULL,
    try_number INTEGER NOT NULL,
    reason TEXT NULL CHECK (length(reason) <= 64),
    UNIQUE (payment_id, sequence)
) STRICT;

CREATE TABLE outbox (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    payment_id INTEGER NULL,
    due_at TEXT NOT NULL CHECK (length(due_at) = 26),
    publication TEXT NOT NULL
) STRICT;

CREATE INDEX outbox_due ON outbox (due_at);
-- Whether a payment has something under way.
CREATE INDEX outbox_by_payment ON outbox (payment_id);

CREATE TABLE card_tokens (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) <= 64),
    client TEXT NOT NULL CHECK (length(client) <= 64),
    card_brand TEXT NOT NULL CHECK (length(card_brand) <= 16),
    card_last4 TEXT NOT NULL CHECK (length(card_last4) <= 4),
    card_expiration TEXT NOT NULL CHECK (length(card_expiration) <= 7),
    sealed_card BLOB NULL CHECK (length(sealed_card) <= 1024),
    expires_at TEXT NOT NULL CHECK (length(expires_at) = 26),
    used_by INTEGER NULL,
    -- When the sealed card has to go; null once it is gone.
    erase_at TEXT NULL CHECK (length(erase_at) = 26)
) STRICT;

CREATE INDEX card_tokens_to_erase ON card_tokens (erase_at) WHERE erase_at IS NOT NULL;

CREATE TABLE issuer_ledger (
    idempotency_key TEXT NOT NULL PRIMARY KEY CHECK (length(idempotency_key) <= 64),
    payment_id INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    charged_at TEXT NULL CHECK (length(charged_at) = 26),
    reversed_at TEXT NULL CHECK (length(reversed_at) = 26)
) STRICT;

CREATE INDEX issuer_ledger_by_payment ON issuer_ledger (payment_id);

-- One row: the first payment id that is not reserved yet.
CREATE TABLE id_blocks (
    id INTEGER NOT NULL PRIMARY KEY,
    next_id INTEGER NOT NULL
) STRICT;
