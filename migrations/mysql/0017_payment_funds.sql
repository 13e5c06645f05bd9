-- Captures and refunds. All null for a payment that is captured at once and was never refunded. `stage` is the status of a
-- payment that is captured later, while it may still change; `status` is `processing` until then, so that releases without
-- captures leave the payment alone.
ALTER TABLE payments
    ADD COLUMN capture_method VARCHAR(9) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN stage VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN operation VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN captured_minor BIGINT NULL,
    ADD COLUMN refunded_minor BIGINT NULL,
    ADD COLUMN reserved_minor BIGINT NULL,
    ADD COLUMN capture_before DATETIME(6) NULL,
    ADD COLUMN cancellation_reason VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;
