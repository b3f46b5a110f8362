-- The same for all users of a policy.
CREATE TABLE policy_config (
    policy      TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    server      TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    option_line TEXT    NOT NULL,
    PRIMARY KEY (policy, server, position)
) STRICT;
