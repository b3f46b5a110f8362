ALTER TABLE policies
    ADD COLUMN max_devices  INT UNSIGNED NULL AFTER device_mode,
    ADD COLUMN max_sessions INT UNSIGNED NULL AFTER max_devices,
    ADD COLUMN on_limit     VARCHAR(24)  CHARACTER SET ascii COLLATE ascii_bin NULL AFTER max_sessions,
    ADD COLUMN cooldown_s   INT UNSIGNED NULL AFTER on_limit;
