ALTER TABLE session_claims ADD COLUMN server TEXT NULL;
