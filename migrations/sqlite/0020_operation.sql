-- The capture or void that is running.
ALTER TABLE payments ADD COLUMN operation TEXT NULL CHECK (length(operation) <= 16);
