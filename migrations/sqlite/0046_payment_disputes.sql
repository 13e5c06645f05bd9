-- The disputes about a payment at its platform, as JSON. Null: none.
ALTER TABLE payments ADD COLUMN disputes TEXT NULL;
