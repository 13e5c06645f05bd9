-- Why the payment was canceled.
ALTER TABLE payments ADD COLUMN cancellation_reason TEXT NULL CHECK (length(cancellation_reason) <= 64);
