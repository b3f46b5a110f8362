-- The view with the columns `groupname` and `class`, which FreeRADIUS' table has in newer versions.
CREATE OR REPLACE VIEW radacct AS SELECT
    CAST(CONV(CONCAT(SUBSTR(id, 1, 8), SUBSTR(id, 10, 4), SUBSTR(id, 16, 3), SUBSTR(id, 21, 1)),
        16, 10) AS UNSIGNED) AS radacctid,
    id AS acctsessionid,
    REPLACE(id, '-', '') AS acctuniqueid,
    user_name AS username,
    '' AS groupname,
    '' AS realm,
    server AS nasipaddress,
    CAST(cid AS CHAR(10)) AS nasportid,
    'Virtual' AS nasporttype,
    started_at AS acctstarttime,
    updated_at AS acctupdatetime,
    ended_at AS acctstoptime,
    CAST(NULL AS SIGNED) AS acctinterval,
    duration_s AS acctsessiontime,
    'Local' AS acctauthentic,
    TRIM(CONCAT(COALESCE(client_platform, ''), ' ', COALESCE(client_version, ''))) AS connectinfo_start,
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
    CAST(NULL AS CHAR(64)) AS class
FROM sessions;
