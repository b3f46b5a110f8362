-- Each OpenVPN server as it was last seen by the daemon that holds its management port. A session that
-- is open in that run was there then, also one that carries nothing and has no row written anew.
CREATE TABLE servers (
    name            VARCHAR(64)     NOT NULL,
    address         VARCHAR(255)    NOT NULL,
    openvpn_version VARCHAR(64)     NOT NULL,
    run_started     DATETIME(3)     NOT NULL,
    seen_at         DATETIME(3)     NOT NULL,
    sessions        INT UNSIGNED    NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
