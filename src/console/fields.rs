//! What a browser sends: names and values, of a query or of a form.

use std::{fmt::Display, str::FromStr};

use super::answer::Fault;

/// Longest form, in bytes.
pub(super) const MAX_BODY: usize = 8 << 10;
/// Most names of one form or query.
const MOST: usize = 32;

/// Names and values. An empty value is none: a browser sends it for a field that was left open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=b&c=d`.
    pub fn parse(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes).take(MOST);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A value, if there is one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same, in spite of spaces around it, which nobody sees who pastes it.
    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A value of a type, if there is one.
    pub(super) fn parsed<T>(&self, name: &'static str) -> Result<Option<T>, Fault>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parse = |text: &str| text.parse().map_err(|error| bad(name, text, error));
        self.get(name).map(parse).transpose()
    }

    /// A value that has to be there.
    pub(super) fn required<T>(&self, name: &'static str) -> Result<T, Fault>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.parsed(name)?.ok_or_else(|| Fault::Input(format!("{name} is missing")))
    }
}

/// What is wrong with a value.
pub(super) fn bad(name: &str, text: &str, error: impl Display) -> Fault {
    let shown: String = text.chars().take(64).collect();
    Fault::Input(format!("{name} `{shown}`: {error}"))
}

/// A path with a query, for links.
pub fn link(path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{SessionId, Username};

    #[test]
    fn what_is_sent_is_read_and_bounded() {
        let fields = Fields::parse(b"name=al%2Fi+ce%26&empty=&name=second&odd&%ff=%ff");
        assert_eq!(fields.get("name"), Some("al/i ce&"), "the first counts");
        assert_eq!(
            (fields.get("empty"), fields.get("odd"), fields.get("none")),
            (None, None, None)
        );
        let name: Username = fields.required("name").unwrap();
        assert_eq!(name.as_str(), "al/i ce&");
        assert!(matches!(fields.required::<Username>("none"), Err(Fault::Input(_))));
        assert!(matches!(fields.parsed::<SessionId>("name"), Err(Fault::Input(_))));
        assert_eq!(fields.parsed::<SessionId>("none").ok(), Some(None));
        assert_eq!(Fields::parse("a=1&".repeat(1_000).as_bytes()).0.len(), MOST);
    }

    #[test]
    fn links_bring_back_what_they_were_made_of() {
        let name = "a&b=c d/é?\"<";
        let link = link("/user", &[("name", name), ("empty", "")]);
        assert!(link.is_ascii() && !link.contains(['"', '<', ' ']), "{link}");
        let fields = Fields::parse(link.strip_prefix("/user?").unwrap().as_bytes());
        assert_eq!(fields.get("name"), Some(name));
        assert_eq!(super::link("/users", &[("after", "")]), "/users");
    }
}
