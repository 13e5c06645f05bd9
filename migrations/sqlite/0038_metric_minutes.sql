-- What each process has counted in each minute, for the charts of the operators' page.
CREATE TABLE IF NOT EXISTS metric_minutes (
    minute INTEGER NOT NULL,
    id TEXT NOT NULL CHECK (length(id) <= 36),
    counts TEXT NOT NULL,
    PRIMARY KEY (minute, id)
) STRICT, WITHOUT ROWID;
