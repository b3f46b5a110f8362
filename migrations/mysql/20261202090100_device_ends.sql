-- Until when a device or certificate of a user may connect. A table of its own: `devices` may be a view.
CREATE TABLE device_ends (
    user_id     BIGINT       NOT NULL,
    identifier  VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    valid_until DATETIME(3)  NOT NULL,
    PRIMARY KEY (user_id, identifier)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
