-- What could not be used. With servers this is a queue of the broker; the embedded broker forgets when it ends.
CREATE TABLE dead_letters (
    id TEXT NOT NULL PRIMARY KEY,
    -- When it was kept; the newest come last.
    kept_at TEXT NOT NULL CHECK (length(kept_at) = 26),
    publication TEXT NOT NULL
) STRICT;
