-- Captures, voids and refunds, each with the progress of its calls to the processor.
CREATE TABLE IF NOT EXISTS operations (
    id BINARY(16) NOT NULL,
    payment_id BIGINT NOT NULL,
    client VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    failure_code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    reason VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    client_reference VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    try_number INT NOT NULL,
    phase VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    uncertain BOOLEAN NOT NULL,
    pending_failure VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    cancellation_reason VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    claimed_until DATETIME(6) NULL,
    check_at DATETIME(6) NULL,
    idempotency_key VARBINARY(255) NULL,
    fingerprint BINARY(32) NULL,
    origin TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    quarantined VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (id),
    -- One operation per key: decides races.
    UNIQUE KEY operations_by_key (client, idempotency_key),
    -- The operations of a payment, the oldest first.
    KEY operations_by_payment (payment_id, id),
    -- Which ones the rescue looks at.
    KEY operations_to_check (check_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
