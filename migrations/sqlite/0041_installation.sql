-- The random id of this installation, in its only row: part of every key towards payment platforms, so that two installations
-- can share an account of a platform.
CREATE TABLE IF NOT EXISTS installation (
    only_row INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL CHECK (length(id) <= 32)
) STRICT;
