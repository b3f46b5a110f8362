CREATE TABLE second_factors (
    user_id    INTEGER NOT NULL PRIMARY KEY,
    secret     TEXT    NOT NULL,
    last_step  INTEGER NULL,
    created_at TEXT    NOT NULL
) STRICT;
