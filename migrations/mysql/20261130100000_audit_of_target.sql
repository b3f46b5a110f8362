-- What was done to a user, a device or a session.
CREATE INDEX admin_audit_target ON admin_audit (target);
