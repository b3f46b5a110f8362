-- Sessions whose end is near, for tools that tell their users.
CREATE VIEW session_notices AS SELECT
    id AS session_id,
    server,
    user_name,
    device,
    client_ip,
    vpn_ip,
    deadline,
    deadline_reason,
    expiry_action,
    warned_at
FROM sessions
WHERE ended_at IS NULL AND state = 'active' AND warned_at IS NOT NULL;
