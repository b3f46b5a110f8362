CREATE TABLE session_claims (
    session_id TEXT NOT NULL PRIMARY KEY,
    user_name  TEXT NOT NULL,
    device     TEXT NULL,
    claimed_at TEXT NOT NULL
) STRICT;
CREATE INDEX session_claims_user ON session_claims (user_name, claimed_at);
CREATE INDEX session_claims_age ON session_claims (claimed_at);
