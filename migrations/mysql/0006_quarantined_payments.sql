-- Why a payment was set aside, and null for every other.
ALTER TABLE payments
    ADD COLUMN /*M! IF NOT EXISTS */ quarantined VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
