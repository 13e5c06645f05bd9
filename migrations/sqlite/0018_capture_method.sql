-- When an authorized amount is captured. Null: together with the authorization.
ALTER TABLE payments ADD COLUMN capture_method TEXT NULL CHECK (length(capture_method) <= 9);
