//! An OpenVPN configuration as OpenVPN reads it. Text in, directives out.

use std::{net::IpAddr, path::PathBuf};

/// A directive with its arguments, and its line.
pub struct Directive {
    pub line: usize,
    pub words: Vec<String>,
}

/// A whole configuration. Of a directive that stands there more than once the last one counts.
pub struct Conf(Vec<Directive>);

impl Conf {
    pub fn parse(text: &str) -> Self {
        Self(directives(text))
    }

    /// The last directive of that name.
    pub fn last(&self, name: &str) -> Option<&Directive> {
        self.all(name).last()
    }

    /// Every directive of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Directive> {
        self.0.iter().filter(move |directive| directive.words[0] == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// The first argument, where it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.last(name)?.words.get(1)?.parse().ok()
    }

    /// Whether it is a client's: it asks a server for its options.
    pub fn is_client(&self) -> bool {
        self.has("client") || self.has("pull")
    }

    /// Its management interface.
    pub fn management(&self) -> Option<Management> {
        let found = self.last("management")?;
        let word = |at: usize| found.words.get(at).map(String::as_str);
        let place = match (word(1)?, word(2)?) {
            (path, "unix") => Place::Unix(path.into()),
            (host, port) => Place::Network { host: host.to_owned(), port: port.parse().ok()? },
        };
        let password_file = word(3).filter(|file| *file != "stdin").map(PathBuf::from);
        Some(Management { line: found.line, place, has_password: word(3).is_some(), password_file })
    }
}

/// Where OpenVPN's management interface is, or whom it dials with `management-client`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Unix(PathBuf),
    Network { host: String, port: u16 },
}

impl Place {
    /// Only reachable from the same host.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Network { host, .. } => is_loopback(host),
        }
    }
}

/// `localhost`, or an address of that kind.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The `management` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Management {
    pub line: usize,
    pub place: Place,
    pub has_password: bool,
    /// Where it is, if not asked for at the start.
    pub password_file: Option<PathBuf>,
}

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

    #[test]
    fn directives_are_read_as_openvpn_reads_them() {
        let conf = Conf::parse(
            "# duplicate-cn\n--port 1 # x\n<ca>\nport 2\n</ca>\n; port 3\nsetenv \"A B\" 'c \"d'\n",
        );
        let words: Vec<_> = conf.0.iter().map(|d| (d.line, d.words.join("|"))).collect();
        assert_eq!(words, [(2, "port|1".to_owned()), (7, "setenv|A B|c \"d".to_owned())]);
    }

    #[test]
    fn a_management_line_has_a_place_and_maybe_a_password() {
        let read = |line: &str| Conf::parse(line).management();
        let network = |host: &str| Place::Network { host: host.into(), port: 7505 };
        let plain = read("management 127.0.0.1 7505").unwrap();
        assert_eq!((plain.place, plain.has_password), (network("127.0.0.1"), false));
        let asked = read("\nmanagement 0.0.0.0 7505 stdin").unwrap();
        assert_eq!((asked.line, asked.has_password, asked.password_file), (2, true, None));
        assert!(!asked.place.is_local());
        let unix = read("management /run/a.sock unix pw").unwrap();
        assert_eq!(unix.place, Place::Unix("/run/a.sock".into()));
        assert_eq!(unix.password_file, Some("pw".into()));
        assert_eq!(read("management 127.0.0.1"), None);
        assert_eq!(read("management 127.0.0.1 99999"), None);
    }
}
