-- What the simulated issuer has captured, voided and refunded.
CREATE TABLE IF NOT EXISTS issuer_operations (
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    authorization_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    payment_id BIGINT NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    executed_at DATETIME(6) NULL,
    closed_at DATETIME(6) NULL,
    failed_at DATETIME(6) NULL,
    PRIMARY KEY (idempotency_key),
    KEY issuer_operations_by_authorization (authorization_key),
    KEY issuer_operations_by_payment (payment_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
