-- What travels apart is swept apart: rows of one lane that cannot be published hide none of another.
-- The one index finds what is due, in the order of the sweep (a sort would lock all that is due instead of what is taken),
-- and holds what is counted and which payments have something under way: a second one would be written four times on the
-- way of each payment, and read once in a while.
ALTER TABLE outbox
    ADD COLUMN lane VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'work',
    DROP KEY outbox_due,
    DROP KEY outbox_by_payment,
    ADD KEY outbox_due (lane, due_at, id, payment_id);
