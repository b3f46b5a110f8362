-- When OpenVPN ends a session by itself, as it was told at the login.
ALTER TABLE sessions ADD COLUMN backstop TEXT NULL;
