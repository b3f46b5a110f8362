CREATE TABLE quota_grants (
    id          BIGINT          NOT NULL AUTO_INCREMENT,
    user_name   VARCHAR(128)    NOT NULL,
    kind        VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount      BIGINT UNSIGNED NOT NULL,
    valid_until DATETIME(3)     NOT NULL,
    created_at  DATETIME(3)     NOT NULL,
    actor       VARCHAR(128)    NOT NULL,
    PRIMARY KEY (id),
    KEY quota_grants_user (user_name, valid_until)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
