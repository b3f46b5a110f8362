//! What OpenVPN is told about a client beside the approval, as it is stored. A core.

use std::net::IpAddr;

use crate::types::{ServerName, Username};

/// Most lines of one owner, for all servers together.
pub const MAX_CLIENT_LINES: usize = 64;

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOwner {
    /// Those of one user: rows of `user_config`.
    User(Username),
    /// Those of all users of a policy: rows of `policy_config`.
    Policy(String),
}

/// A line as in a file of `client-config-dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    /// On which server only; `None`: on all.
    pub server: Option<ServerName>,
    /// One option with its arguments, at most 255 bytes; not known to be sound.
    pub text: Box<str>,
}

/// A line to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// The line.
    pub line: StoredLine,
    /// The address that it gives to the client: no other user may have it on the same server.
    pub address: Option<IpAddr>,
}

/// The lines of a login: those for all servers before those for one, each as they were put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// Of the policy.
    pub policy: Vec<StoredLine>,
    /// Of the user.
    pub user: Vec<StoredLine>,
}

/// Reads rows that a database has joined, each as `POSITION SERVER LINE` with a line end, in no
/// order and with commas between; `None` where that is not so, as when the database cut it short.
pub(super) fn joined(text: &str) -> Option<Vec<StoredLine>> {
    let mut rows = Vec::new();
    for row in text.split_inclusive('\n') {
        let row = if rows.is_empty() { row } else { row.strip_prefix(',')? };
        let (position, row) = row.strip_suffix('\n')?.split_once(' ')?;
        let (server, line) = row.split_once(' ')?;
        rows.push((server, position.parse::<u32>().ok()?, line));
    }
    rows.sort_unstable();
    let line = |(server, _, text): (&str, u32, &str)| stored(server, text);
    let lines: Option<Vec<_>> = rows.into_iter().map(line).collect();
    lines.filter(|lines| lines.len() <= MAX_CLIENT_LINES)
}

/// A line from its columns; an empty server is all.
pub(super) fn stored(server: &str, text: &str) -> Option<StoredLine> {
    let server = match server {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    Some(StoredLine { server, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: &str, text: &str) -> StoredLine {
        stored(server, text).unwrap()
    }

    #[test]
    fn rows_come_in_their_order_whatever_the_database_made_of_it() {
        let text = "10  push \"a\"\n,0 udp iroute 10.5.0.0\n,2  push \"b, c\"\n,9  disable\n";
        let lines = [line("", "push \"b, c\""), line("", "disable"), line("", "push \"a\"")];
        let expected = lines.into_iter().chain([line("udp", "iroute 10.5.0.0")]).collect();
        assert_eq!(joined(text), Some(expected));
        assert_eq!(joined(""), Some(Vec::new()));
    }

    #[test]
    fn what_was_cut_short_is_nothing() {
        for text in ["0  iroute 10.6.0.70", "0  a\n,1", "0  a\n,", "0 a b\n1  b\n", "x  a\n", "0\n"]
        {
            assert_eq!(joined(text), None, "{text:?}");
        }
        let rows =
            |count: usize| (0..count).map(|n| format!("{n}  a\n")).collect::<Vec<_>>().join(",");
        assert_eq!(joined(&rows(MAX_CLIENT_LINES)).unwrap().len(), MAX_CLIENT_LINES);
        assert_eq!(joined(&rows(MAX_CLIENT_LINES + 1)), None);
    }
}
