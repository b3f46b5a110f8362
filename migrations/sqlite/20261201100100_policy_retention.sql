ALTER TABLE policies ADD COLUMN retention_days INTEGER NULL;
