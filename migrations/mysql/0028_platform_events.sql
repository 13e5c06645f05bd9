-- Events that payment platforms have reported by webhook: which ones, not their content. `state` is waiting, done (kept so that
-- a repeated webhook is recognized) or aside. `due_at`: of one that waits, when it is looked at; of the others, when it is deleted.
CREATE TABLE IF NOT EXISTS platform_events (
    processor VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    subject VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reference VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    received_at DATETIME(6) NOT NULL,
    tries INT NOT NULL,
    state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    due_at DATETIME(6) NOT NULL,
    quarantined VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (processor, event_id),
    -- What is due.
    KEY platform_events_due (processor, state, due_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
