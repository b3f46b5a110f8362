-- Hours in which users of a policy may be connected; a policy without any: at all times.
CREATE TABLE allowed_hours (
    policy  VARCHAR(64)      NOT NULL,
    weekday TINYINT UNSIGNED NOT NULL,
    opens   CHAR(5)          CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    closes  CHAR(5)          CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (policy, weekday, opens),
    CONSTRAINT allowed_hours_policy FOREIGN KEY (policy) REFERENCES policies (name) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
