-- How the current attempt ends once its reversal is confirmed: `{attempt} declined {code}` or `{attempt} failed {reason}`.
ALTER TABLE payments ADD COLUMN pending_code TEXT NULL CHECK (length(pending_code) <= 96);
