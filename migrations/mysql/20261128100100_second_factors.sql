CREATE TABLE second_factors (
    user_id    BIGINT          NOT NULL,
    secret     VARCHAR(128)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    last_step  BIGINT UNSIGNED NULL,
    created_at DATETIME(3)     NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
