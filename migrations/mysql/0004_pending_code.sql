-- How the current attempt ends once its reversal is confirmed: `{attempt} declined {code}` or `{attempt} failed {reason}`.
-- Nullable, so that processes of the previous release, which do not know it, can write beside this one.
ALTER TABLE payments ADD COLUMN pending_code VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NULL DEFAULT NULL;
