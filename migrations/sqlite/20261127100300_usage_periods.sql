-- What sessions that have ended used, by session and day; old days of a user as one, without session.
CREATE TABLE usage_periods (
    user_name      TEXT    NOT NULL,
    starts_at      TEXT    NOT NULL,
    session_id     TEXT    NOT NULL,
    duration_ms    INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    bytes_sent     INTEGER NOT NULL,
    PRIMARY KEY (user_name, starts_at, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_periods_age ON usage_periods (starts_at);
