-- Who asked for an operation: null for a client or the service itself, `processor` for a refund made at the platform.
ALTER TABLE operations ADD COLUMN source VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL;
