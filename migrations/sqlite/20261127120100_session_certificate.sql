ALTER TABLE sessions ADD COLUMN certificate TEXT NULL;
