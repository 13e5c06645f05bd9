-- The refunded amount.
ALTER TABLE payments ADD COLUMN refunded_minor INTEGER NULL;
