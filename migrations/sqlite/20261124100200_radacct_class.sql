-- The view with the columns `groupname` and `class`, which FreeRADIUS' table has in newer versions.
DROP VIEW radacct;
CREATE VIEW radacct AS SELECT
    (instr('123456789abcdef', substr(id, 1, 1)) << 60)
        + (instr('123456789abcdef', substr(id, 2, 1)) << 56)
        + (instr('123456789abcdef', substr(id, 3, 1)) << 52)
        + (instr('123456789abcdef', substr(id, 4, 1)) << 48)
        + (instr('123456789abcdef', substr(id, 5, 1)) << 44)
        + (instr('123456789abcdef', substr(id, 6, 1)) << 40)
        + (instr('123456789abcdef', substr(id, 7, 1)) << 36)
        + (instr('123456789abcdef', substr(id, 8, 1)) << 32)
        + (instr('123456789abcdef', substr(id, 10, 1)) << 28)
        + (instr('123456789abcdef', substr(id, 11, 1)) << 24)
        + (instr('123456789abcdef', substr(id, 12, 1)) << 20)
        + (instr('123456789abcdef', substr(id, 13, 1)) << 16)
        + (instr('123456789abcdef', substr(id, 16, 1)) << 12)
        + (instr('123456789abcdef', substr(id, 17, 1)) << 8)
        + (instr('123456789abcdef', substr(id, 18, 1)) << 4)
        + instr('123456789abcdef', substr(id, 21, 1)) AS radacctid,
    id AS acctsessionid,
    REPLACE(id, '-', '') AS acctuniqueid,
    user_name AS username,
    '' AS groupname,
    '' AS realm,
    server AS nasipaddress,
    CAST(cid AS TEXT) AS nasportid,
    'Virtual' AS nasporttype,
    started_at AS acctstarttime,
    updated_at AS acctupdatetime,
    ended_at AS acctstoptime,
    CAST(NULL AS INTEGER) AS acctinterval,
    duration_s AS acctsessiontime,
    'Local' AS acctauthentic,
    trim(COALESCE(client_platform, '') || ' ' || COALESCE(client_version, '')) AS connectinfo_start,
    '' AS connectinfo_stop,
    bytes_received AS acctinputoctets,
    bytes_sent AS acctoutputoctets,
    server AS calledstationid,
    COALESCE(client_ip, '') AS callingstationid,
    CASE WHEN ended_at IS NULL THEN ''
        WHEN cause IN ('session_limit', 'time_quota', 'hours', 'account_expiry') THEN 'Session-Timeout'
        WHEN cause = 'data_quota' THEN 'NAS-Request'
        WHEN cause = 'idle' THEN 'Idle-Timeout'
        WHEN cause IN ('admin', 'account_disabled', 'device_blocked') THEN 'Admin-Reset'
        WHEN cause = 'replaced' THEN 'Port-Preempted'
        WHEN cause = 'user_request' THEN 'User-Request'
        WHEN cause = 'lost_carrier' THEN 'Lost-Carrier'
        WHEN cause = 'server_restarted' THEN 'NAS-Reboot'
        ELSE '' END AS acctterminatecause,
    'Framed-User' AS servicetype,
    '' AS framedprotocol,
    CASE WHEN vpn_ip LIKE '%:%' THEN '' ELSE COALESCE(vpn_ip, '') END AS framedipaddress,
    CASE WHEN vpn_ip LIKE '%:%' THEN vpn_ip ELSE '' END AS framedipv6address,
    '' AS framedipv6prefix,
    '' AS framedinterfaceid,
    '' AS delegatedipv6prefix,
    CAST(NULL AS TEXT) AS class
FROM sessions;
