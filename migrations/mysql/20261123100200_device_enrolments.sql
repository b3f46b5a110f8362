CREATE TABLE device_enrolments (
    user_id    BIGINT      NOT NULL,
    open_until DATETIME(3) NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
