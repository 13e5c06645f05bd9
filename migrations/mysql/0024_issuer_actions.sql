-- The pages on which shoppers approve attempts at the simulated issuer.
CREATE TABLE IF NOT EXISTS issuer_actions (
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    secret VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    payment_id BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    held BOOLEAN NOT NULL,
    test_card VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    return_to TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    answer VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (idempotency_key),
    UNIQUE KEY issuer_actions_by_secret (secret)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
