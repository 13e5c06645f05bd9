-- What a payment platform says otherwise than we do about what a waiting event is about, as JSON. Null: nothing.
ALTER TABLE platform_events ADD COLUMN difference TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
