-- Hours in which users of a policy may be connected; a policy without any: at all times.
CREATE TABLE allowed_hours (
    policy  TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    weekday INTEGER NOT NULL,
    opens   TEXT    NOT NULL,
    closes  TEXT    NOT NULL,
    PRIMARY KEY (policy, weekday, opens)
) STRICT, WITHOUT ROWID;
