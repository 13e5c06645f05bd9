-- The refunded amount, together with pending refunds.
ALTER TABLE payments ADD COLUMN reserved_minor INTEGER NULL;
