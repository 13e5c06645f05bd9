-- The lists of one status, newest first: status of most payments, stage of those that are kept apart. Without it a list of a
-- rare status reads all payments of the client.
CREATE INDEX IF NOT EXISTS payments_by_status ON payments (client, stage, status, created_at, id);
