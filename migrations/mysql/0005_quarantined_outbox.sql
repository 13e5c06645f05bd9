-- Why a row was set aside, and null for every other. A row that is set aside lies in the lane `aside`, so that the index
-- of the sweep does not hold it among those that are due.
ALTER TABLE outbox
    ADD COLUMN /*M! IF NOT EXISTS */ quarantined VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
