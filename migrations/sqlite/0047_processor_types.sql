-- Which type each name of PROCESSORS_FILE has, as it was used last: payments that are under way have only the name.
CREATE TABLE IF NOT EXISTS processor_types (
    processor TEXT NOT NULL PRIMARY KEY CHECK (length(processor) <= 32),
    kind TEXT NOT NULL CHECK (length(kind) <= 32)
) STRICT, WITHOUT ROWID;
