-- One operation per key: decides races.
CREATE UNIQUE INDEX IF NOT EXISTS operations_by_key ON operations (client, idempotency_key) WHERE idempotency_key IS NOT NULL;
