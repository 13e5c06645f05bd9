-- When the authorization expires unless it is captured.
ALTER TABLE payments ADD COLUMN capture_before TEXT NULL CHECK (length(capture_before) = 26);
