-- The last attempt that needed its shopper: state, page, expiry, as JSON. Null for all others. Like a payment that is captured
-- later, such a payment has its status in `stage`.
ALTER TABLE payments ADD COLUMN action TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
