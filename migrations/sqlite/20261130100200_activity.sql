-- What happened in each hour, for charts.
CREATE TABLE activity (
    starts_at TEXT    NOT NULL,
    server    TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    amount    INTEGER NOT NULL,
    PRIMARY KEY (starts_at, server, kind, reason)
) STRICT, WITHOUT ROWID;
