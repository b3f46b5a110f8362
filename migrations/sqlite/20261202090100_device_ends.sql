-- Until when a device or certificate of a user may connect. A table of its own: `devices` may be a view.
CREATE TABLE device_ends (
    user_id     INTEGER NOT NULL,
    identifier  TEXT    NOT NULL,
    valid_until TEXT    NOT NULL,
    PRIMARY KEY (user_id, identifier)
) STRICT, WITHOUT ROWID;
