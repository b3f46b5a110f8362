ALTER TABLE policies ADD COLUMN second_factor TEXT NULL;
