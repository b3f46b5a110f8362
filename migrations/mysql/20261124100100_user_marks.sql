CREATE TABLE user_marks (
    user_id BIGINT          NOT NULL,
    serial  BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
