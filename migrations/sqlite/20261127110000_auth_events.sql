-- Failed logins, so that daemons count them together and a restart forgets none.
CREATE TABLE auth_events (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    network    TEXT    NOT NULL,
    origin     TEXT    NOT NULL,
    created_at TEXT    NOT NULL
) STRICT;
CREATE INDEX auth_events_created ON auth_events (created_at);
