CREATE TABLE quota_grants (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_name   TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    amount      INTEGER NOT NULL,
    valid_until TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    actor       TEXT    NOT NULL
) STRICT;
CREATE INDEX quota_grants_user ON quota_grants (user_name, valid_until);
