-- How the current attempt pays, beyond the card columns: `{attempt} card {funding}`, or `{attempt} {type} {shown fields}` of
-- another method. Nullable, so that processes of the previous release, which do not know it, can write beside this one.
ALTER TABLE payments ADD COLUMN method TEXT NULL CHECK (length(method) <= 1024);
