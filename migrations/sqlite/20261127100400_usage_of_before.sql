-- Sessions that ended before there was `usage_periods` count from their first day on.
INSERT INTO usage_periods (user_name, starts_at, session_id, duration_ms, bytes_received, bytes_sent)
SELECT user_name, started_at, id, duration_s * 1000, bytes_received, bytes_sent
FROM sessions WHERE ended_at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-40 days');
