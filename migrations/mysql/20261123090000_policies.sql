CREATE TABLE policies (
    name            VARCHAR(64)     NOT NULL,
    session_limit_s INT UNSIGNED    NULL,
    expiry_action   VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    device_mode     VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at      DATETIME(3)     NOT NULL,
    updated_at      DATETIME(3)     NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
