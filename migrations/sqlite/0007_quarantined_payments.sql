-- Why a payment was set aside, and null for every other.
ALTER TABLE payments ADD COLUMN quarantined TEXT NULL CHECK (length(quarantined) <= 255);
