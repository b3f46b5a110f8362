CREATE TABLE device_enrolments (
    user_id    INTEGER NOT NULL PRIMARY KEY,
    open_until TEXT    NOT NULL
) STRICT;
