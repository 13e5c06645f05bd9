-- Events that payment platforms have reported by webhook: which ones, not their content. `state` is waiting, done (kept so that
-- a repeated webhook is recognized) or aside. `due_at`: of one that waits, when it is looked at; of the others, when it is deleted.
CREATE TABLE IF NOT EXISTS platform_events (
    processor TEXT NOT NULL CHECK (length(processor) <= 32),
    event_id TEXT NOT NULL CHECK (length(event_id) <= 255),
    kind TEXT NOT NULL CHECK (length(kind) <= 64),
    subject TEXT NOT NULL CHECK (length(subject) <= 16),
    reference TEXT NOT NULL CHECK (length(reference) <= 255),
    received_at TEXT NOT NULL CHECK (length(received_at) = 26),
    tries INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (length(state) <= 16),
    due_at TEXT NOT NULL CHECK (length(due_at) = 26),
    quarantined TEXT NULL CHECK (length(quarantined) <= 255),
    PRIMARY KEY (processor, event_id),
    -- An index of what is due, in the same statement.
    UNIQUE (processor, state, due_at, event_id)
) STRICT, WITHOUT ROWID;
