CREATE TABLE users (
    id            BIGINT          NOT NULL AUTO_INCREMENT,
    name          VARCHAR(128)    NOT NULL,
    password_hash VARCHAR(512)    NULL,
    policy        VARCHAR(64)     NULL,
    enabled       BOOLEAN         NOT NULL DEFAULT TRUE,
    valid_from    DATETIME(3)     NULL,
    valid_until   DATETIME(3)     NULL,
    password_changed_at DATETIME(3) NULL,
    created_at    DATETIME(3)     NOT NULL,
    updated_at    DATETIME(3)     NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY users_name (name),
    KEY users_policy (policy),
    CONSTRAINT users_policy_exists FOREIGN KEY (policy) REFERENCES policies (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
