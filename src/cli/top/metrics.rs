//! What `/metrics` of a daemon says, as far as `top` shows it. Core: text in, values out.

use std::collections::BTreeMap;

use crate::types::{DenyReason, ServerName};

/// Reasons that this build does not know, from a newer daemon.
pub const OTHER: &str = "other";

/// Answers to logins since the daemon was started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    pub allowed: f64,
    /// By reason; only those that occurred.
    pub denied: BTreeMap<&'static str, f64>,
}

impl Answers {
    pub fn all_denied(&self) -> f64 {
        self.denied.values().sum()
    }
}

/// One look at a daemon.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scrape {
    pub version: Option<String>,
    pub links: BTreeMap<ServerName, bool>,
    pub answers: Answers,
    pub database_up: Option<bool>,
    /// Session rows that wait for the database.
    pub backlog: Option<f64>,
    /// Passwords that wait for a hashing thread.
    pub hash_queue: Option<f64>,
}

impl Scrape {
    /// Reads Prometheus' text form, of one server's series or of all.
    ///
    /// # Errors
    /// When it is not the text of an ovpn-warden. A line that cannot be read is left out.
    pub fn parse(text: &str, only: Option<&ServerName>) -> Result<Self, String> {
        let mut scrape = Self::default();
        for sample in text.lines().filter_map(Sample::parse) {
            scrape.take(&sample, only);
        }
        match scrape.version {
            Some(_) => Ok(scrape),
            None => Err("what answers there is no ovpn-warden".into()),
        }
    }

    fn take(&mut self, sample: &Sample<'_>, only: Option<&ServerName>) {
        let server = || {
            let server: ServerName = sample.label("server")?.parse().ok()?;
            only.is_none_or(|only| *only == server).then_some(server)
        };
        match sample.name {
            "ovpn_warden_build_info" => self.version = sample.label("version"),
            "ovpn_warden_link_up" => {
                self.links.extend(server().map(|server| (server, sample.value > 0.0)));
            }
            "ovpn_warden_auth_total" if server().is_some() => self.answers.add(sample),
            "ovpn_warden_store_up" => self.database_up = Some(sample.value > 0.0),
            "ovpn_warden_store_backlog" => self.backlog = Some(sample.value),
            "ovpn_warden_hash_queue" => self.hash_queue = Some(sample.value),
            _ => {}
        }
    }
}

impl Answers {
    fn add(&mut self, sample: &Sample<'_>) {
        match sample.label("outcome").as_deref() {
            Some("allowed") => self.allowed += sample.value,
            // What has never happened is no line.
            Some("denied") if sample.value > 0.0 => {
                let reason = sample.label("reason").and_then(|word| word.parse().ok());
                let reason = reason.map_or(OTHER, DenyReason::as_str);
                *self.denied.entry(reason).or_default() += sample.value;
            }
            Some(_) | None => {}
        }
    }
}

/// `name{label="value",…} number`
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            // A `}` in a value stands before the last one: values of ours are numbers.
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest),
        };
        let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(Self { name, labels, value })
    }

    fn label(&self, wanted: &str) -> Option<String> {
        let mut rest = self.labels;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let (value, length) = unquote(after)?;
            if name.trim_start_matches(',').trim() == wanted {
                return Some(value);
            }
            rest = &after[length..];
        }
    }
}

/// A label's value up to its closing quote, and how long it was with it.
fn unquote(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE ovpn_warden_auth_total counter\n\
        ovpn_warden_auth_total{server=\"udp\",outcome=\"allowed\",reason=\"\"} 7\n\
        ovpn_warden_auth_total{server=\"tcp\",outcome=\"allowed\",reason=\"\"} 2\n\
        ovpn_warden_auth_total{server=\"udp\",outcome=\"denied\",reason=\"bad_credentials\"} 3\n\
        ovpn_warden_auth_total{server=\"udp\",outcome=\"denied\",reason=\"timeout\"} 0\n\
        ovpn_warden_auth_total{server=\"udp\",outcome=\"denied\",reason=\"of_tomorrow\"} 4\n\
        ovpn_warden_link_up{server=\"udp\"} 1\novpn_warden_link_up{server=\"tcp\"} 0\n\
        ovpn_warden_store_up 1\novpn_warden_store_backlog 12\novpn_warden_hash_queue 3\n\
        ovpn_warden_build_info{version=\"0.1.0\"} 1\n";

    #[test]
    fn links_answers_and_queues_are_read() {
        let scrape = Scrape::parse(TEXT, None).unwrap();
        assert_eq!(scrape.version.as_deref(), Some("0.1.0"));
        let links: Vec<_> = scrape.links.iter().map(|(name, up)| (name.as_str(), *up)).collect();
        assert_eq!(links, [("tcp", false), ("udp", true)]);
        assert_eq!(scrape.answers.allowed, 9.0);
        let denied: Vec<_> = scrape.answers.denied.clone().into_iter().collect();
        assert_eq!(denied, [("bad_credentials", 3.0), (OTHER, 4.0)]);
        assert_eq!(scrape.answers.all_denied(), 7.0);
        assert_eq!((scrape.database_up, scrape.backlog), (Some(true), Some(12.0)));
        assert_eq!(scrape.hash_queue, Some(3.0));
    }

    #[test]
    fn one_server_may_be_asked_for() {
        let scrape = Scrape::parse(TEXT, Some(&"tcp".parse().unwrap())).unwrap();
        assert_eq!((scrape.answers.allowed, scrape.answers.all_denied()), (2.0, 0.0));
        assert_eq!(scrape.links.len(), 1);
    }

    #[test]
    fn another_programs_text_is_refused_and_broken_lines_are_left_out() {
        assert!(Scrape::parse("", None).is_err());
        assert!(Scrape::parse("node_load1 0.5\n", None).is_err());
        let broken = "ovpn_warden_link_up{server=\"a\n}{ \" 1\n{} NaN\novpn_warden_store_up NaN\n\
            ovpn_warden_store_backlog -1\novpn_warden_link_up{server=\"a b\"} 1\n= \u{0}\n\
            ovpn_warden_build_info{a=\"}\\\"\\n,\",version=\"9\"} 1";
        let scrape = Scrape::parse(broken, None).unwrap();
        assert_eq!(scrape, Scrape { version: Some("9".into()), ..Scrape::default() });
    }
}
