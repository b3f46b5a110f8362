CREATE TABLE policies (
    name            TEXT    NOT NULL PRIMARY KEY,
    session_limit_s INTEGER NULL,
    expiry_action   TEXT    NULL,
    device_mode     TEXT    NULL,
    created_at      TEXT    NOT NULL,
    updated_at      TEXT    NOT NULL
) STRICT;
