-- Whether the simulated issuer only holds the amount until it is captured. Null: charged at once.
ALTER TABLE issuer_ledger ADD COLUMN held INTEGER NULL;
