-- The operations of a payment.
CREATE INDEX IF NOT EXISTS issuer_operations_by_payment ON issuer_operations (payment_id);
