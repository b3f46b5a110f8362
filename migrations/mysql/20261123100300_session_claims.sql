CREATE TABLE session_claims (
    session_id CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_name  VARCHAR(128) NOT NULL,
    device     VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    claimed_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (session_id),
    KEY session_claims_user (user_name, claimed_at),
    KEY session_claims_age (claimed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
