-- Where the payment page sends the shopper back to.
ALTER TABLE payments ADD COLUMN return_url TEXT NULL CHECK (length(return_url) <= 2048);
