-- The disputes about a payment at its platform, as JSON. Null: none.
ALTER TABLE payments ADD COLUMN disputes TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
