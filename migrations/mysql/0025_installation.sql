-- The random id of this installation, in its only row: part of every key towards payment platforms, so that two installations
-- can share an account of a platform.
CREATE TABLE IF NOT EXISTS installation (
    only_row BIGINT NOT NULL,
    id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (only_row)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
