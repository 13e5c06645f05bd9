-- The captured amount. Null: all of it, if the payment has succeeded.
ALTER TABLE payments ADD COLUMN captured_minor INTEGER NULL;
