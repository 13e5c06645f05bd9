-- When payments that are captured later are looked at again: by the rescue, and when their authorization expires.
CREATE TABLE IF NOT EXISTS capture_schedule (
    payment_id BIGINT NOT NULL,
    check_at DATETIME(6) NULL,
    capture_before DATETIME(6) NULL,
    PRIMARY KEY (payment_id),
    KEY capture_schedule_check (check_at),
    KEY capture_schedule_expiry (capture_before)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
