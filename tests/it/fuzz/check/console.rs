//! What a browser sends to the web console: the fields of a form or an address, and where it wants
//! to go next.

use ovpn_warden::console::{Fields, inside, link};
use url::{Url, form_urlencoded};

/// Most fields of one form.
const MOST: usize = 32;

thread_local! {
    static HERE: Url = Url::parse("https://console.example/login").unwrap();
}

/// Checks one input: the body of a form, and the value of a field.
pub(crate) fn check(input: &[u8]) {
    let fields = Fields::parse(input);
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(input).into_owned().take(MOST).collect();
    for (name, _) in &pairs {
        let first = pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(fields.get(name), first.filter(|value| !value.is_empty()));
    }
    next(fields.get("next"));
    let Ok(text) = std::str::from_utf8(input) else { return };
    next(Some(text));
    // A link brings back what it was made of.
    let made = link("/user", &[("name", text), ("note", "killed")]);
    assert!(made.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>".contains(&byte)));
    let read = Fields::parse(made.strip_prefix("/user?").unwrap().as_bytes());
    assert_eq!(read.get("name"), Some(text).filter(|text| !text.is_empty()), "{made}");
    assert_eq!(read.get("note"), Some("killed"));
}

/// A browser that is sent there stays on this site.
fn next(text: Option<&str>) {
    let path = inside(text);
    assert!(path == "/" || Some(path) == text);
    assert!(path.bytes().all(|byte| byte > b' ' && byte != 127), "{path:?} is no header");
    HERE.with(|here| {
        let there = here.join(path).unwrap();
        assert_eq!(there.origin(), here.origin(), "{path:?} leads to {there}");
    });
}
