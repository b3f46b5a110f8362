CREATE TABLE session_commands (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    session_id TEXT    NOT NULL,
    server     TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    reason     TEXT    NULL,
    deadline   TEXT    NULL,
    actor      TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    handled_at TEXT    NULL
) STRICT;

CREATE INDEX session_commands_open ON session_commands (handled_at, server);
CREATE INDEX session_commands_session ON session_commands (session_id);
