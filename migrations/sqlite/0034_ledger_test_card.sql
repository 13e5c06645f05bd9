-- Which test card it was, if that decides about later operations.
ALTER TABLE issuer_ledger ADD COLUMN test_card TEXT NULL CHECK (length(test_card) <= 64);
