-- What a payment platform calls an attempt or a refund, by our idempotency key. Empty: closed, nothing may be created under it.
CREATE TABLE IF NOT EXISTS processor_references (
    processor TEXT NOT NULL CHECK (length(processor) <= 32),
    idempotency_key TEXT NOT NULL CHECK (length(idempotency_key) <= 64),
    reference TEXT NOT NULL CHECK (length(reference) <= 255),
    PRIMARY KEY (processor, idempotency_key)
) STRICT, WITHOUT ROWID;
