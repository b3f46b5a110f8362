//! Reads an OpenVPN server configuration for what this daemon needs. Text in, findings out.

use std::collections::HashMap;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Will hurt one day.
    Warning,
    /// Logins or limits do not work like this.
    Fault,
}

impl Severity {
    /// The word for people and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One thing to know about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The line, from 1; `None` for something that is missing.
    pub line: Option<usize>,
    /// The directive.
    pub directive: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub mend: String,
}

/// A directive with its arguments, and its line.
struct Directive {
    line: usize,
    words: Vec<String>,
}

/// Looks at a whole server configuration. `auth_timeout_s` is our own time limit for an answer.
pub fn lint(text: &str, auth_timeout_s: u64) -> Vec<Finding> {
    let directives = directives(text);
    let mut last: HashMap<&str, &Directive> = HashMap::new();
    for directive in &directives {
        if let Some(name) = directive.words.first() {
            last.insert(name.as_str(), directive);
        }
    }
    let mut findings = Vec::new();
    for rule in MISSING {
        if !rule.names.iter().any(|name| last.contains_key(name)) {
            findings.push(Finding {
                severity: rule.severity,
                line: None,
                directive: rule.names[0],
                why: rule.why,
                mend: rule.mend.into(),
            });
        }
    }
    for rule in PRESENT {
        if let Some(found) = last.get(rule.name).filter(|found| (rule.applies)(&found.words)) {
            findings.push(Finding {
                severity: rule.severity,
                line: Some(found.line),
                directive: rule.name,
                why: rule.why,
                mend: rule.mend.into(),
            });
        }
    }
    let number = |name: &str| last.get(name)?.words.get(1)?.parse::<u64>().ok();
    let window = number("hand-window").unwrap_or(60);
    if window < 2 * auth_timeout_s {
        findings.push(Finding {
            severity: Severity::Warning,
            line: last.get("hand-window").map(|found| found.line),
            directive: "hand-window",
            why: "a client gives up before a slow answer of ours can act",
            mend: format!(
                "set `hand-window {}` or more, or lower [auth] timeout_ms",
                2 * auth_timeout_s
            ),
        });
    }
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.line));
    findings
}

struct Missing {
    names: &'static [&'static str],
    severity: Severity,
    why: &'static str,
    mend: &'static str,
}

const MISSING: &[Missing] = &[
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

struct Present {
    name: &'static str,
    applies: fn(&[String]) -> bool,
    severity: Severity,
    why: &'static str,
    mend: &'static str,
}

fn always(_: &[String]) -> bool {
    true
}

fn is_network(words: &[String]) -> bool {
    words.get(2).is_some_and(|port| port != "unix")
}

const PRESENT: &[Present] = &[
    Present {
        name: "auth-user-pass-verify",
        applies: always,
        severity: Severity::Fault,
        why: "the script decides beside us, and each login stalls every tunnel while it runs",
        mend: "remove the line",
    },
    Present {
        name: "management-client",
        applies: always,
        severity: Severity::Fault,
        why: "OpenVPN would dial out instead of listening, which this version does not answer",
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
        name: "management",
        applies: |words| is_network(words) && words.get(3).is_none(),
        severity: Severity::Fault,
        why: "every local user can let anybody in over a port without a password",
        mend: "add a password file as the third argument, or use a unix socket",
    },
    Present {
        name: "management",
        applies: |words| {
            is_network(words)
                && words.get(1).is_some_and(|host| !host.starts_with("127.") && host != "::1")
        },
        severity: Severity::Fault,
        why: "the management protocol is not encrypted: passwords cross the network in the clear",
        mend: "listen on 127.0.0.1 or on a unix socket, and run this daemon on the same host",
    },
    Present {
        name: "auth-gen-token",
        applies: |words| !words.iter().any(|word| word == "external-auth"),
        severity: Severity::Warning,
        why: "clients that come back with a token are not shown to us as logins",
        mend: "add `external-auth` to the line, or remove it",
    },
    Present {
        name: "auth-user-pass-optional",
        applies: always,
        severity: Severity::Warning,
        why: "clients without a username are asked about and always denied",
        mend: "remove the line",
    },
    Present {
        name: "verify-client-cert",
        applies: |words| words.get(1).is_some_and(|word| word == "none"),
        severity: Severity::Warning,
        why: "only the password is then secret: a device address is text that the client chooses",
        mend: "use client certificates beside it: `verify-client-cert require`",
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
        name: "duplicate-cn",
        applies: always,
        severity: Severity::Note,
        why: "several clients may share one certificate",
        mend: "leave it out unless people share certificates on purpose",
    },
    Present {
        name: "username-as-common-name",
        applies: always,
        severity: Severity::Note,
        why: "usernames over 64 characters fail after we have admitted them",
        mend: "keep usernames short",
    },
];

/// Splits a configuration into directives, as OpenVPN reads it: comments, quotes, escapes,
/// inline blocks, an optional `--`.
fn directives(text: &str) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut inline: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(end) = &inline {
            if trimmed == end {
                inline = None;
            }
            continue;
        }
        if let Some(tag) = trimmed.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            inline = Some(format!("</{tag}>"));
            continue;
        }
        let mut words = words(trimmed);
        if let Some(name) = words.first_mut() {
            if let Some(bare) = name.strip_prefix("--") {
                *name = bare.to_owned();
            }
            directives.push(Directive { line: index + 1, words });
        }
    }
    directives
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('#' | ';', None) if word.is_none() => break,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "server 10.8.0.0 255.255.255.0\n\
        management /run/openvpn/udp.sock unix /etc/openvpn/mgmt.pw\n\
        management-client-auth\nmanagement-hold\n";

    fn found(text: &str) -> Vec<(&'static str, Option<usize>, Severity)> {
        lint(text, 8).into_iter().map(|f| (f.directive, f.line, f.severity)).collect()
    }

    #[test]
    fn a_good_configuration_has_no_findings() {
        assert_eq!(found(GOOD), []);
    }

    #[test]
    fn what_is_missing_is_named() {
        let names: Vec<_> = found("port 1194\n").into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["management", "management-client-auth", "server", "management-hold"]);
    }

    #[test]
    fn the_script_flow_is_found_with_its_line() {
        let text = format!(
            "{GOOD}# auth-user-pass-verify in a comment\n--auth-user-pass-verify \"/etc/auth.py\" via-env\n"
        );
        assert_eq!(found(&text), [("auth-user-pass-verify", Some(6), Severity::Fault)]);
    }

    #[test]
    fn an_open_management_port_is_a_fault() {
        let text = GOOD.replace("/run/openvpn/udp.sock unix /etc/openvpn/mgmt.pw", "0.0.0.0 7505");
        assert_eq!(
            found(&text),
            [("management", Some(2), Severity::Fault), ("management", Some(2), Severity::Fault)]
        );
    }

    #[test]
    fn tokens_and_short_windows_are_warned_of() {
        let text = format!("{GOOD}auth-gen-token 3600\nhand-window 10\n");
        assert_eq!(
            found(&text),
            [
                ("auth-gen-token", Some(5), Severity::Warning),
                ("hand-window", Some(6), Severity::Warning)
            ]
        );
        assert_eq!(found(&format!("{GOOD}auth-gen-token 3600 external-auth\n")), []);
    }

    #[test]
    fn inline_blocks_are_no_directives() {
        let text = format!("{GOOD}<ca>\nduplicate-cn\n</ca>\n");
        assert_eq!(found(&text), []);
    }
}
