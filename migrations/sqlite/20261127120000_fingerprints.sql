ALTER TABLE policies ADD COLUMN require_fingerprint INTEGER NULL;
