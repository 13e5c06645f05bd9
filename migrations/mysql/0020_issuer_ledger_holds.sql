-- Whether the simulated issuer only holds the amount until it is captured, and which test card it was, if that decides
-- about later operations. Null on lines of releases without captures: charged at once.
ALTER TABLE issuer_ledger
    ADD COLUMN held BOOLEAN NULL,
    ADD COLUMN test_card VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;
