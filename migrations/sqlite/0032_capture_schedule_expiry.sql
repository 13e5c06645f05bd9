-- Which authorizations have expired.
CREATE INDEX IF NOT EXISTS capture_schedule_expiry ON capture_schedule (capture_before) WHERE capture_before IS NOT NULL;
