CREATE TABLE admin_audit (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    created_at TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    detail     TEXT    NULL
) STRICT;

CREATE INDEX admin_audit_created ON admin_audit (created_at);
