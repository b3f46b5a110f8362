CREATE TABLE recovery_codes (
    user_id    INTEGER NOT NULL,
    code_hash  TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT;
