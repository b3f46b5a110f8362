-- What OpenVPN is told about a user's clients: one option a row, as in a file of client-config-dir.
-- An empty server is all of them. `address` is the one that the option gives to the client.
CREATE TABLE user_config (
    user_id     BIGINT       NOT NULL,
    server      VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    position    INT UNSIGNED NOT NULL,
    option_line VARCHAR(255) NOT NULL,
    address     VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (user_id, server, position),
    UNIQUE KEY user_config_address (address, server)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
