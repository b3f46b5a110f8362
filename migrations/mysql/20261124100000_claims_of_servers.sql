ALTER TABLE session_claims ADD COLUMN server VARCHAR(64) NULL AFTER user_name;
