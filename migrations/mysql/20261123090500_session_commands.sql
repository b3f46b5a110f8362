CREATE TABLE session_commands (
    id         BIGINT       NOT NULL AUTO_INCREMENT,
    session_id CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    server     VARCHAR(64)  NOT NULL,
    action     VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason     VARCHAR(200) NULL,
    deadline   DATETIME(3)  NULL,
    actor      VARCHAR(128) NOT NULL,
    created_at DATETIME(3)  NOT NULL,
    handled_at DATETIME(3)  NULL,
    PRIMARY KEY (id),
    KEY session_commands_open (handled_at, server),
    KEY session_commands_session (session_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
