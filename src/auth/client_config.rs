//! What OpenVPN is told about a client beside the approval: lines as in a file of
//! `client-config-dir`, of the user and its policy. A core.
//!
//! They are judged when they are stored and again at each login: OpenVPN ignores a line that it
//! cannot use, and the client would be connected without what it says.

use thiserror::Error;

use crate::{
    proto::{ConfigLine, ConfigLineError},
    store::{ClientConfig, ConfigOwner, Facts, MAX_CLIENT_LINES, NewLine, StoreError, StoredLine},
    types::ServerName,
};

use super::request::{AuthRequest, RequestKind};

/// Options of which the last one counts, for one owner and server: a new one takes the place of the old.
const SINGLE: [&str; 6] = [
    "ifconfig-push",
    "ifconfig-ipv6-push",
    "inactive",
    "ping",
    "ping-restart",
    "max-routes-per-client",
];
/// What only one client may have.
const OWN: [&str; 4] = ["ifconfig-push", "ifconfig-ipv6-push", "iroute", "iroute-ipv6"];

/// Why a line cannot be stored. Never holds the line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// OpenVPN would not do what it says.
    #[error(transparent)]
    Line(#[from] ConfigLineError),
    /// Here that is a limit of the policy.
    #[error("`{0}` is not set here: {1}")]
    Elsewhere(&'static str, &'static str),
    /// All users of a policy would have the same.
    #[error("`{0}` is for one client, and a policy has many: set it for the user")]
    Own(&'static str),
    /// Over [`MAX_CLIENT_LINES`].
    #[error("there would be more than {MAX_CLIENT_LINES} lines")]
    TooMany,
    /// Nothing to remove.
    #[error("there is no such line")]
    Absent,
}

/// Changes to an owner's lines, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// For which server they are; `None`: for all.
    pub server: Option<ServerName>,
    /// Removes all lines of that server.
    pub clear: bool,
    /// Removes these, as they are written.
    pub remove: Vec<String>,
    /// Adds these.
    pub add: Vec<String>,
}

/// The lines of an owner as they come to be; with the text that is at fault.
///
/// # Errors
/// Where a line cannot be stored or removed.
pub fn changed(
    owner: &ConfigOwner,
    before: &[StoredLine],
    change: &Change,
) -> Result<Vec<NewLine>, (String, LineError)> {
    let mut lines = before.to_vec();
    if change.clear {
        lines.retain(|line| line.server != change.server);
    }
    for text in &change.remove {
        let is_meant =
            |line: &StoredLine| line.server == change.server && *line.text == *text.trim();
        let at = lines.iter().position(is_meant);
        lines.remove(at.ok_or_else(|| (text.clone(), LineError::Absent))?);
    }
    for text in &change.add {
        let line = parse(matches!(owner, ConfigOwner::Policy(_)), text)
            .map_err(|error| (text.clone(), error))?;
        let stored = StoredLine { server: change.server.clone(), text: line.as_str().into() };
        let option = line.option();
        lines.retain(|old| {
            let is_same = SINGLE.contains(&option)
                && ConfigLine::parse(&old.text).is_ok_and(|old| old.option() == option);
            old.server != stored.server || !is_same && old.text != stored.text
        });
        lines.push(stored);
        if lines.len() > MAX_CLIENT_LINES {
            return Err((text.clone(), LineError::TooMany));
        }
    }
    lines.sort_by(|a, b| a.server.cmp(&b.server));
    let new = |line: StoredLine| NewLine {
        address: ConfigLine::parse(&line.text).ok().and_then(|line| line.address()),
        line,
    };
    Ok(lines.into_iter().map(new).collect())
}

/// A line that may be stored, and sent.
fn parse(is_policys: bool, text: &str) -> Result<ConfigLine, LineError> {
    let line = ConfigLine::parse(text)?;
    let option = line.option();
    match (option, is_policys) {
        ("session-timeout", _) => {
            Err(LineError::Elsewhere(option, "`policy set --session-limit-s` ends sessions"))
        }
        ("disable", _) => Err(LineError::Elsewhere(option, "`user disable` keeps a user out")),
        (_, true) if OWN.contains(&option) => Err(LineError::Own(option)),
        (_, _) => Ok(line),
    }
}

/// The lines for a new client; a renegotiation has none.
///
/// # Errors
/// [`StoreError::Corrupt`] where a line in the database is not one that could be stored.
pub fn of(request: &AuthRequest, facts: Option<&Facts>) -> Result<Vec<ConfigLine>, StoreError> {
    match facts.filter(|_| request.kind == RequestKind::Connect) {
        Some(facts) => {
            let names = [facts.policy.name.as_str(), facts.user.name.as_str()];
            lines(&facts.config, names, &request.server).map_err(StoreError::Corrupt)
        }
        None => Ok(Vec::new()),
    }
}

/// Those of the policy, then those of the user, each for all servers and then for this one. Where
/// OpenVPN takes the last of some, it is the closest.
fn lines(
    config: &ClientConfig,
    [policy, user]: [&str; 2],
    server: &ServerName,
) -> Result<Vec<ConfigLine>, String> {
    let mut all = Vec::new();
    for (is_policys, name, stored) in [(true, policy, &config.policy), (false, user, &config.user)]
    {
        for (index, line) in stored.iter().enumerate() {
            if line.server.as_ref().is_none_or(|name| name == server) {
                let parsed = parse(is_policys, &line.text);
                all.push(parsed.map_err(|error| spoilt(is_policys, name, index, line, &error))?);
            }
        }
    }
    Ok(all)
}

/// Where it stands, and how it is mended; not what it says.
fn spoilt(
    is_policys: bool,
    name: &str,
    index: usize,
    line: &StoredLine,
    error: &LineError,
) -> String {
    let whose = if is_policys { "policy" } else { "user" };
    let on = line.server.as_ref().map_or("all servers".into(), |name| format!("server `{name}`"));
    let at = index + 1;
    format!(
        "{whose}_config of {whose} `{name}`: line {at}, for {on}: {error}; \
         `{whose} config {name} --remove LINE` takes it away"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> ConfigOwner {
        ConfigOwner::User("alice".parse().unwrap())
    }

    fn policy() -> ConfigOwner {
        ConfigOwner::Policy("staff".into())
    }

    fn line(server: &str, text: &str) -> StoredLine {
        let server = (!server.is_empty()).then(|| server.parse().unwrap());
        StoredLine { server, text: text.into() }
    }

    fn add(server: &str, texts: &[&str]) -> Change {
        Change {
            server: line(server, "").server,
            add: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Change::default()
        }
    }

    fn texts(lines: &[NewLine]) -> Vec<String> {
        let name = |line: &StoredLine| line.server.as_ref().map_or("*".into(), |s| s.to_string());
        lines.iter().map(|new| format!("{} {}", name(&new.line), new.line.text)).collect()
    }

    const ROUTE: &str = "push \"route 10.1.0.0 255.255.0.0\"";
    const ADDRESS: &str = "ifconfig-push 10.8.0.5 255.255.255.0";

    #[test]
    fn lines_are_added_once_and_the_last_of_a_single_option_stays() {
        let before = [line("", ROUTE), line("", ADDRESS), line("udp", "ping 10")];
        let other = "ifconfig-push 10.8.0.6 255.255.255.0";
        let after =
            changed(&user(), &before, &add("", &[other, ROUTE, "iroute 10.5.0.1"])).unwrap();
        let expected =
            [&format!("* {other}"), &format!("* {ROUTE}"), "* iroute 10.5.0.1", "udp ping 10"];
        assert_eq!(texts(&after), expected);
        assert_eq!(after[0].address, "10.8.0.6".parse().ok());
        assert_eq!(after[1].address, None);
        let after = changed(&user(), &before, &add("udp", &["ping 20", ADDRESS])).unwrap();
        let expected = [
            &format!("* {ROUTE}"),
            &format!("* {ADDRESS}"),
            "udp ping 20",
            &format!("udp {ADDRESS}"),
        ];
        assert_eq!(texts(&after), expected, "what is for all servers stays");
    }

    #[test]
    fn lines_are_removed_as_they_are_written_and_all_of_a_server_at_once() {
        let before = [line("", ROUTE), line("udp", ROUTE), line("udp", "ping 10")];
        let remove =
            |server: &str, text: &str| Change { remove: vec![text.into()], ..add(server, &[]) };
        let after = changed(&user(), &before, &remove("udp", &format!(" {ROUTE} "))).unwrap();
        assert_eq!(texts(&after), [format!("* {ROUTE}"), "udp ping 10".into()]);
        let absent = changed(&user(), &before, &remove("", "ping 10"));
        assert_eq!(absent, Err(("ping 10".into(), LineError::Absent)));
        let clear = Change { clear: true, ..add("udp", &["push-reset"]) };
        let after = changed(&user(), &before, &clear).unwrap();
        assert_eq!(texts(&after), [format!("* {ROUTE}"), "udp push-reset".into()]);
    }

    #[test]
    fn what_is_no_option_of_a_client_or_has_another_place_is_refused() {
        let refused =
            |owner: &ConfigOwner, text: &str| changed(owner, &[], &add("", &[text])).unwrap_err().1;
        for owner in [user(), policy()] {
            assert!(matches!(
                refused(&owner, "plugin x"),
                LineError::Line(ConfigLineError::Option)
            ));
            assert!(matches!(refused(&owner, "session-timeout 9"), LineError::Elsewhere(..)));
            assert!(matches!(refused(&owner, "disable"), LineError::Elsewhere(..)));
        }
        let own = [
            ADDRESS,
            "ifconfig-ipv6-push fd00::5/64 fd00::1",
            "iroute 10.5.0.1",
            "iroute-ipv6 fd01::/64",
        ];
        for text in own {
            assert!(matches!(refused(&policy(), text), LineError::Own(_)), "{text}");
            assert!(changed(&user(), &[], &add("", &[text])).is_ok(), "{text}");
        }
        assert!(changed(&policy(), &[], &add("", &[ROUTE])).is_ok());
    }

    #[test]
    fn there_are_only_so_many_lines() {
        let routes: Vec<String> =
            (0..=MAX_CLIENT_LINES).map(|n| format!("iroute 10.5.0.{}", n + 1)).collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let full = changed(&user(), &[], &add("", &routes[1..])).unwrap();
        assert_eq!(full.len(), MAX_CLIENT_LINES);
        let more = changed(&user(), &[], &add("", &routes));
        assert!(matches!(more, Err((_, LineError::TooMany))));
    }

    const NAMES: [&str; 2] = ["default", "alice"];

    #[test]
    fn a_login_has_the_lines_of_its_server_the_closest_last() {
        let config = ClientConfig {
            policy: vec![line("", "push \"a\""), line("tcp", "ping 1"), line("udp", "ping 2")],
            user: vec![line("", "push \"b\""), line("udp", ADDRESS)],
        };
        let of = |server: &str| {
            let lines = lines(&config, NAMES, &server.parse().unwrap()).unwrap();
            lines.iter().map(|line| line.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("udp"), ["push \"a\"", "ping 2", "push \"b\"", ADDRESS]);
        assert_eq!(of("other"), ["push \"a\"", "push \"b\""]);
    }

    #[test]
    fn a_line_that_could_not_be_stored_stops_the_login_it_is_for() {
        let user =
            |text| ClientConfig { policy: vec![], user: vec![line("", ROUTE), line("udp", text)] };
        let policy = |text| ClientConfig { policy: vec![line("", text)], user: vec![] };
        let udp = "udp".parse().unwrap();
        assert_eq!(
            lines(&user("push route 10.1.0.0"), NAMES, &"tcp".parse().unwrap()).unwrap().len(),
            1
        );
        for (config, place, why) in [
            (
                user("push route 10.1.0.0"),
                "user_config of user `alice`: line 2, for server `udp`",
                "wrong arguments",
            ),
            (user("disable"), "user_config of user `alice`", "`user disable`"),
            (user("session-timeout 9"), "user_config of user `alice`", "--session-limit-s"),
            (
                policy(ADDRESS),
                "policy_config of policy `default`: line 1, for all servers",
                "for one client",
            ),
            (policy("iroute 10.5.0.1"), "policy_config of policy `default`", "for one client"),
        ] {
            let error = lines(&config, NAMES, &udp).unwrap_err();
            assert!(error.starts_with(place) && error.contains(why), "{error}");
            assert!(error.contains(" --remove LINE` takes it away"), "{error}");
        }
    }
}
