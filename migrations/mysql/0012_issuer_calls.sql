-- How often the simulated issuer was called for a key. Only for test cards that need the number.
CREATE TABLE IF NOT EXISTS issuer_calls (
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    calls INT NOT NULL,
    PRIMARY KEY (idempotency_key)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
