ALTER TABLE policies ADD COLUMN require_fingerprint TINYINT(1) NULL;
