CREATE TABLE sessions (
    id              TEXT    NOT NULL PRIMARY KEY,
    version         INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    server          TEXT    NOT NULL,
    run_started     TEXT    NOT NULL,
    cid             INTEGER NOT NULL,
    user_name       TEXT    NOT NULL,
    common_name     TEXT    NULL,
    device          TEXT    NULL,
    device_kind     TEXT    NULL,
    client_ip       TEXT    NULL,
    client_port     INTEGER NULL,
    vpn_ip          TEXT    NULL,
    client_version  TEXT    NULL,
    client_platform TEXT    NULL,
    started_at      TEXT    NOT NULL,
    updated_at      TEXT    NOT NULL,
    deadline        TEXT    NULL,
    deadline_reason TEXT    NULL,
    expiry_action   TEXT    NOT NULL,
    ended_at        TEXT    NULL,
    cause           TEXT    NULL,
    duration_s      INTEGER NOT NULL,
    bytes_received  INTEGER NOT NULL,
    bytes_sent      INTEGER NOT NULL,
    UNIQUE (server, run_started, cid, started_at)
) STRICT;

CREATE INDEX sessions_ended_server ON sessions (ended_at, server);
CREATE INDEX sessions_user_started ON sessions (user_name, started_at);
CREATE INDEX sessions_device_started ON sessions (device, started_at);
CREATE INDEX sessions_started ON sessions (started_at);
