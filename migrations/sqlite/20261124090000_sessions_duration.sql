CREATE INDEX sessions_duration ON sessions (duration_s);
