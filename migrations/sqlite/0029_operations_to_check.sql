-- Which ones the rescue looks at.
CREATE INDEX IF NOT EXISTS operations_to_check ON operations (check_at) WHERE check_at IS NOT NULL;
