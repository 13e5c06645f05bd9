-- What travels apart is swept apart: rows of one lane that cannot be published hide none of another.
ALTER TABLE outbox ADD COLUMN lane TEXT NOT NULL DEFAULT 'work' CHECK (length(lane) <= 8);

-- One index finds what is due, and holds what is counted and which payments have something under way.
DROP INDEX outbox_due;
DROP INDEX outbox_by_payment;
CREATE INDEX outbox_due ON outbox (lane, due_at, id, payment_id);
