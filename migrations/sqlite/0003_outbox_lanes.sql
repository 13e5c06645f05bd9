-- What travels apart is swept apart: rows of one lane that cannot be published hide none of another.
ALTER TABLE outbox ADD COLUMN lane TEXT NOT NULL DEFAULT 'work' CHECK (length(lane) <= 8);

DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (lane, due_at);
