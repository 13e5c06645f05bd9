-- What the rescue looks at.
CREATE INDEX IF NOT EXISTS capture_schedule_check ON capture_schedule (check_at) WHERE check_at IS NOT NULL;
