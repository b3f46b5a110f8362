INSERT INTO policies (name, created_at, updated_at)
VALUES ('default', '2026-11-23 00:00:00.000', '2026-11-23 00:00:00.000');
