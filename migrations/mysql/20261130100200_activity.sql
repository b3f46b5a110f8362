-- What happened in each hour, for charts.
CREATE TABLE activity (
    starts_at DATETIME(3)     NOT NULL,
    server    VARCHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind      VARCHAR(16)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason    VARCHAR(32)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (starts_at, server, kind, reason)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
