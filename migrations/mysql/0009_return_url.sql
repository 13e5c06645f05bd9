-- Where the payment page sends the shopper back to. MySQL has no IF NOT EXISTS for columns.
ALTER TABLE payments ADD COLUMN return_url VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NULL;
