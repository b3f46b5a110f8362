-- Each OpenVPN server as it was last seen by the daemon that holds its management port. A session that
-- is open in that run was there then, also one that carries nothing and has no row written anew.
CREATE TABLE servers (
    name            TEXT    NOT NULL PRIMARY KEY,
    address         TEXT    NOT NULL,
    openvpn_version TEXT    NOT NULL,
    run_started     TEXT    NOT NULL,
    seen_at         TEXT    NOT NULL,
    sessions        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
