-- When payments that are captured later are looked at again: by the rescue, and when their authorization expires.
CREATE TABLE IF NOT EXISTS capture_schedule (
    payment_id INTEGER NOT NULL PRIMARY KEY,
    check_at TEXT NULL CHECK (length(check_at) = 26),
    capture_before TEXT NULL CHECK (length(capture_before) = 26)
) STRICT;
