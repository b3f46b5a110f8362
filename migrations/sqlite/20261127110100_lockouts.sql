-- Who is held back after failed logins, for operators; an empty name is everybody at the address.
CREATE TABLE lockouts (
    user_name  TEXT    NOT NULL,
    network    TEXT    NOT NULL,
    failures   INTEGER NOT NULL,
    since      TEXT    NOT NULL,
    held_until TEXT    NOT NULL,
    PRIMARY KEY (user_name, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX lockouts_end ON lockouts (held_until);
