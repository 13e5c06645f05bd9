-- Which type each name of PROCESSORS_FILE has, as it was used last: payments that are under way have only the name.
CREATE TABLE IF NOT EXISTS processor_types (
    processor VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (processor)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
