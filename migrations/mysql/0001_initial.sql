-- Every table names its engine, character set and collation, so that a server's defaults decide nothing.
-- Codes are ascii_bin (compared byte for byte, one byte a character), texts utf8mb4_bin. What callers hand in as a
-- key is VARBINARY: ascii_bin ignores trailing spaces. Times are UTC by the database's clock.
-- Every index costs on the way of each payment; those that exist name the question that they answer.

CREATE TABLE payments (
    id BIGINT NOT NULL,
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    order_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    decline_code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    authorization_code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    card_brand VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
    card_last4 VARCHAR(4) CHARACTER SET ascii COLLATE ascii_bin NULL,
    card_expiration VARCHAR(7) CHARACTER SET ascii COLLATE ascii_bin NULL,
    attempt INT NOT NULL,
    metadata MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    sequence INT NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    try_number INT NOT NULL,
    phase VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    uncertain BOOLEAN NOT NULL,
    sealed_card VARBINARY(1024) NULL,
    claimed_until DATETIME(6) NULL,
    check_at DATETIME(6) NULL,
    idempotency_key VARBINARY(255) NULL,
    fingerprint BINARY(32) NULL,
    origin TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (id),
    -- One payment per key: decides races.
    UNIQUE KEY payments_by_key (client, idempotency_key),
    -- The lists, newest first.
    KEY payments_by_client (client, created_at, id),
    KEY payments_by_order (client, order_id, created_at),
    KEY payments_by_user (client, user_id, created_at),
    -- Which ones the last net looks at.
    KEY payments_to_check (check_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE payment_events (
    id BINARY(16) NOT NULL,
    payment_id BIGINT NOT NULL,
    sequence INT NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    happened_at DATETIME(6) NOT NULL,
    attempt INT NOT NULL,
    try_number INT NOT NULL,
    reason VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (id),
    UNIQUE KEY payment_events_in_order (payment_id, sequence)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE outbox (
    id BINARY(16) NOT NULL,
    payment_id BIGINT NULL,
    due_at DATETIME(6) NOT NULL,
    publication MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (id),
    KEY outbox_due (due_at),
    -- Whether a payment has something under way.
    KEY outbox_by_payment (payment_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE card_tokens (
    id VARBINARY(64) NOT NULL,
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    card_brand VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    card_last4 VARCHAR(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    card_expiration VARCHAR(7) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sealed_card VARBINARY(1024) NULL,
    expires_at DATETIME(6) NOT NULL,
    used_by BIGINT NULL,
    -- When the sealed card has to go; null once it is gone, so that the index holds only what is left to erase.
    erase_at DATETIME(6) NULL,
    PRIMARY KEY (id),
    KEY card_tokens_to_erase (erase_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE issuer_ledger (
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    payment_id BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    charged_at DATETIME(6) NULL,
    reversed_at DATETIME(6) NULL,
    PRIMARY KEY (idempotency_key),
    KEY issuer_ledger_by_payment (payment_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row: the first payment id that no process has reserved yet.
CREATE TABLE id_blocks (
    id INT NOT NULL,
    next_id BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
