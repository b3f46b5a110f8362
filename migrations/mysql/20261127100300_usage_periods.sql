-- What sessions that have ended used, by session and day; old days of a user as one, without session.
CREATE TABLE usage_periods (
    user_name      VARCHAR(128)    NOT NULL,
    starts_at      DATETIME(3)     NOT NULL,
    session_id     CHAR(36)        CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    duration_ms    BIGINT UNSIGNED NOT NULL,
    bytes_received BIGINT UNSIGNED NOT NULL,
    bytes_sent     BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_name, starts_at, session_id),
    KEY usage_periods_age (starts_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
