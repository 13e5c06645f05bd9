-- The operations of a payment, the oldest first.
CREATE INDEX IF NOT EXISTS operations_by_payment ON operations (payment_id, id);
