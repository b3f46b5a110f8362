ALTER TABLE sessions ADD KEY sessions_user_ended (user_name, ended_at);
