-- The operations on an authorization.
CREATE INDEX IF NOT EXISTS issuer_operations_by_authorization ON issuer_operations (authorization_key);
