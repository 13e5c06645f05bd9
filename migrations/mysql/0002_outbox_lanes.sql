-- What travels apart is swept apart: rows of one lane that cannot be published hide none of another.
ALTER TABLE outbox
    ADD COLUMN lane VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'work',
    DROP KEY outbox_due,
    ADD KEY outbox_due (lane, due_at);
