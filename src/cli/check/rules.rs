//! The rules that look at one directive: what has to be there, and what must not. Data.

use super::lint::Severity;

/// Something that has to be there.
pub struct Missing {
    /// Any of these will do; the first is what a finding names.
    pub names: &'static [&'static str],
    pub severity: Severity,
    pub why: &'static str,
    pub mend: &'static str,
}

/// Something that must not be there, or not so.
pub struct Present {
    pub name: &'static str,
    pub applies: fn(&[String]) -> bool,
    pub severity: Severity,
    pub why: &'static str,
    pub mend: &'static str,
}

const fn always(_: &[String]) -> bool {
    true
}

pub const MISSING: &[Missing] = &[
    Missing {
        names: &["management"],
        severity: Severity::Fault,
        why: "without a management interface nothing can attach",
        mend: "add `management /run/openvpn/NAME.sock unix /etc/ovpn-warden/mgmt.pw`",
    },
    Missing {
        names: &["management-client-auth"],
        severity: Severity::Fault,
        why: "OpenVPN does not ask us about logins",
        mend: "add `management-client-auth`",
    },
    Missing {
        names: &["server", "server-bridge", "mode"],
        severity: Severity::Fault,
        why: "management-client-auth works only in a server",
        mend: "add `server 10.8.0.0 255.255.255.0` or the network that you use",
    },
    Missing {
        names: &["management-hold"],
        severity: Severity::Warning,
        why: "after a start, clients that come before we are attached get no answer",
        mend: "add `management-hold`; it is released once the database answers",
    },
];

pub const PRESENT: &[Present] = &[
    Present {
        name: "auth-user-pass-verify",
        applies: always,
        severity: Severity::Fault,
        why: "the script decides beside us, and each login stalls every tunnel while it runs",
        mend: "remove the line",
    },
    Present {
        name: "management-signal",
        applies: always,
        severity: Severity::Fault,
        why: "every client is dropped whenever we disconnect, as for an upgrade",
        mend: "remove the line",
    },
    Present {
        name: "env-filter",
        applies: always,
        severity: Severity::Fault,
        why: "it is a command of the management port and no option: OpenVPN will not start; above 0, \
              clients forge variables such as their username",
        mend: "remove the line; ovpn-warden sends `env-filter 0` whenever it attaches",
    },
    Present {
        name: "auth-user-pass-optional",
        applies: always,
        severity: Severity::Warning,
        why: "clients without a username are asked about and always denied",
        mend: "remove the line",
    },
    Present {
        name: "client-connect",
        applies: always,
        severity: Severity::Warning,
        why: "the script stalls every tunnel while it runs, and can still refuse whom we admit",
        mend: "remove the line if it served the old session records",
    },
    Present {
        name: "client-disconnect",
        applies: always,
        severity: Severity::Warning,
        why: "the script stalls every tunnel while it runs",
        mend: "remove the line if it served the old session records",
    },
    Present {
        name: "plugin",
        applies: |words| {
            words.get(1).is_some_and(|path| path.contains("auth") || path.contains("radius"))
        },
        severity: Severity::Warning,
        why: "an authentication plugin decides beside us: a login needs both to agree",
        mend: "remove the line",
    },
    Present {
        name: "management-client-user",
        applies: |words| words.get(1).is_some_and(|user| user != "ovpn-warden"),
        severity: Severity::Warning,
        why: "OpenVPN closes the connection of a management client that is another user",
        mend: "name the user that ovpn-warden runs as (`ovpn-warden` in its unit)",
    },
    Present {
        name: "management-client-group",
        applies: |words| words.get(1).is_some_and(|group| group != "ovpn-warden"),
        severity: Severity::Warning,
        why: "OpenVPN closes the connection of a management client of another group",
        mend: "name the group that ovpn-warden runs as (`ovpn-warden` in its unit)",
    },
    Present {
        name: "push",
        applies: |words| words.get(1).is_some_and(|what| what.trim() == "push-peer-info"),
        severity: Severity::Warning,
        why: "it cannot be pushed: what identifies the device is sent before anything is pushed",
        mend: "remove the line, and put `push-peer-info` into the configurations of clients",
    },
    Present {
        name: "duplicate-cn",
        applies: always,
        severity: Severity::Note,
        why: "several clients may share one certificate",
        mend: "leave it out unless people share certificates on purpose, or connect more than once",
    },
    Present {
        name: "username-as-common-name",
        applies: always,
        severity: Severity::Note,
        why: "usernames over 64 characters fail after we have admitted them",
        mend: "keep usernames short",
    },
    Present {
        name: "config",
        applies: always,
        severity: Severity::Note,
        why: "the file that it names is read by OpenVPN, and was not looked at",
        mend: "put its lines here, or read them with these findings in mind",
    },
];

/// What a client's configuration must not have.
pub const PRESENT_AT_CLIENTS: &[Present] = &[
    Present {
        name: "auth-nocache",
        applies: always,
        severity: Severity::Warning,
        why: "the password is needed again at every renewal of the keys",
        mend: "remove the line",
    },
    Present {
        name: "setenv",
        applies: |words| {
            words.get(1).is_some_and(|name| {
                name.to_ascii_uppercase().contains("MAC")
                    && !name.starts_with("UV_")
                    && !name.starts_with("IV_")
            })
        },
        severity: Severity::Warning,
        why: "only variables whose names begin with UV_ are sent to the server",
        mend: "write it as `setenv UV_CLIENT_MAC …`",
    },
];
