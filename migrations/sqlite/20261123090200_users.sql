CREATE TABLE users (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NULL,
    policy        TEXT    NULL REFERENCES policies (name),
    enabled       INTEGER NOT NULL DEFAULT 1,
    valid_from    TEXT    NULL,
    valid_until   TEXT    NULL,
    password_changed_at TEXT NULL,
    created_at    TEXT    NOT NULL,
    updated_at    TEXT    NOT NULL
) STRICT;

CREATE INDEX users_policy ON users (policy);
