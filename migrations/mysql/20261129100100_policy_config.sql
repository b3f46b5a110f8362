-- The same for all users of a policy.
CREATE TABLE policy_config (
    policy      VARCHAR(64)  NOT NULL,
    server      VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    position    INT UNSIGNED NOT NULL,
    option_line VARCHAR(255) NOT NULL,
    PRIMARY KEY (policy, server, position),
    CONSTRAINT policy_config_policy FOREIGN KEY (policy) REFERENCES policies (name) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
