CREATE INDEX sessions_user_ended ON sessions (user_name, ended_at);
