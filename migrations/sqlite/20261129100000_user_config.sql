-- What OpenVPN is told about a user's clients: one option a row, as in a file of client-config-dir.
-- An empty server is all of them. `address` is the one that the option gives to the client.
CREATE TABLE user_config (
    user_id     INTEGER NOT NULL,
    server      TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    option_line TEXT    NOT NULL,
    address     TEXT,
    PRIMARY KEY (user_id, server, position)
) STRICT;
CREATE UNIQUE INDEX user_config_address ON user_config (address, server);
