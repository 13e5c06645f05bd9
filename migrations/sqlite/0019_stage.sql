-- The status of a payment that is captured later, while it may still change. `status` is `processing` until then.
ALTER TABLE payments ADD COLUMN stage TEXT NULL CHECK (length(stage) <= 32);
