-- Who is held back after failed logins, for operators; an empty name is everybody at the address.
CREATE TABLE lockouts (
    user_name  VARCHAR(128) NOT NULL,
    network    VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    failures   INT UNSIGNED NOT NULL,
    since      DATETIME(3)  NOT NULL,
    held_until DATETIME(3)  NOT NULL,
    PRIMARY KEY (user_name, network),
    KEY lockouts_end (held_until)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
