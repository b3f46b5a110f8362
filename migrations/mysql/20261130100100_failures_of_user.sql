-- The failed logins of a user.
CREATE INDEX auth_events_user ON auth_events (user_name, created_at);
