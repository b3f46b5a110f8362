-- What OpenVPN was told at the login: it ends the session by itself so many seconds after `started_at`.
ALTER TABLE sessions ADD COLUMN session_timeout_s INTEGER NULL;
