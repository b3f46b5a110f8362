ALTER TABLE policies
    ADD COLUMN time_zone            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN time_quota_day_s     BIGINT UNSIGNED NULL,
    ADD COLUMN time_quota_week_s    BIGINT UNSIGNED NULL,
    ADD COLUMN time_quota_month_s   BIGINT UNSIGNED NULL,
    ADD COLUMN time_quota_total_s   BIGINT UNSIGNED NULL,
    ADD COLUMN data_quota_day_bytes   BIGINT UNSIGNED NULL,
    ADD COLUMN data_quota_week_bytes  BIGINT UNSIGNED NULL,
    ADD COLUMN data_quota_month_bytes BIGINT UNSIGNED NULL,
    ADD COLUMN data_quota_total_bytes BIGINT UNSIGNED NULL,
    ADD COLUMN idle_s               INT UNSIGNED NULL,
    ADD COLUMN idle_bytes           BIGINT UNSIGNED NULL;
