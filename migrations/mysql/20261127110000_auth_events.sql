-- Failed logins, so that daemons count them together and a restart forgets none.
CREATE TABLE auth_events (
    id         BIGINT       NOT NULL AUTO_INCREMENT,
    kind       VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_name  VARCHAR(128) NOT NULL,
    network    VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    origin     CHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at DATETIME(3)  NOT NULL,
    PRIMARY KEY (id),
    KEY auth_events_created (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
