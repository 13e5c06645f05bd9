-- The issuer's own record of the currency, so that a payment whose currency was changed is noticed. Null on lines that a
-- release before this one wrote.
ALTER TABLE issuer_ledger ADD COLUMN currency TEXT NULL CHECK (length(currency) = 3);
