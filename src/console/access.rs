//! Who may come in: by the token, which becomes a cookie, or by the name that a proxy has checked.
//!
//! Every form carries a signature over who it was made for; another site's page has none.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    telemetry::events::Event,
    types::{Clock, Mono, Password, Printable, truncate_on_char},
};

use super::{
    Shared,
    answer::Fault,
    fields::{Fields, MAX_BODY},
};

const COOKIE: &str = "ovpn_warden_console";
/// A visit ends so long after its login,
const LONGEST: Duration = Duration::from_secs(12 * 3_600);
/// or after so long without a page.
const IDLE: Duration = Duration::from_secs(3_600);
/// Visits at a time; a login beyond ends the one that was idle for longest.
const MOST_VISITS: usize = 64;
/// Wrong tokens in a minute, from anywhere, before all have to wait.
const MOST_FAILURES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Longest name that a proxy may tell, in bytes.
const MAX_NAME: usize = 100;
/// Who came with the token.
const TOKEN_NAME: &str = "token";

type Secret = [u8; 32];

/// What decides who comes in.
pub(super) struct Access {
    token: Option<Password>,
    proxy_header: Option<HeaderName>,
    /// Signs forms; made anew with each start.
    key: Secret,
    visits: Mutex<Visits>,
    clock: Clock,
}

#[derive(Default)]
struct Visits {
    /// By the digest of the cookie: who reads this memory cannot come in with it.
    by_cookie: HashMap<Secret, Visit>,
    failures: u32,
    failures_since: Mono,
}

#[derive(Clone, Copy)]
struct Visit {
    begun: Mono,
    seen: Mono,
}

/// Somebody who may see and do everything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    name: String,
    /// What the forms of this visit are signed with.
    pub(super) signature: String,
    /// Whether there is something to log out of.
    pub(super) has_cookie: bool,
}

impl Visitor {
    /// As the audit has it.
    pub(super) fn actor(&self) -> String {
        format!("console:{}", self.name)
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is another.
    Wrong,
    /// Too many were.
    Wait,
}

impl Access {
    pub(super) fn new(
        token: Option<Password>,
        proxy_header: Option<HeaderName>,
        clock: Clock,
    ) -> Self {
        Self { token, proxy_header, key: rand::random(), visits: Mutex::default(), clock }
    }

    /// Whether one can log in with a token.
    pub(super) const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Takes a token; the value of the cookie that stands for it from now on. The browser's visit of before ends.
    pub(super) fn log_in(&self, token: &[u8], headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
        let now = self.clock.now().mono;
        let mut visits = self.visits();
        if now - visits.failures_since >= MINUTE {
            (visits.failures, visits.failures_since) = (0, now);
        }
        if visits.failures >= MOST_FAILURES {
            return Err(Refusal::Wait);
        }
        // Digests: equally long, whatever is compared.
        let is_right = self.token.as_ref().is_some_and(|right| {
            Sha256::digest(right.expose()).ct_eq(&Sha256::digest(token)).into()
        });
        if !is_right {
            visits.failures += 1;
            return Err(Refusal::Wrong);
        }
        let cookie = hex(&rand::random::<Secret>());
        visits.by_cookie.retain(|_, visit| !visit.is_over(now));
        if let Some(old) = self::cookie(headers) {
            visits.by_cookie.remove(&digest(old));
        }
        if visits.by_cookie.len() >= MOST_VISITS
            && let Some(idlest) = visits.by_cookie.iter().min_by_key(|(_, visit)| visit.seen)
        {
            let idlest = *idlest.0;
            visits.by_cookie.remove(&idlest);
        }
        visits.by_cookie.insert(digest(&cookie), Visit { begun: now, seen: now });
        drop(visits);
        Event::AdminAction {
            actor: format!("console:{TOKEN_NAME}"),
            action: "console.login",
            target: "console".into(),
            user: None,
        }
        .emit();
        Ok(set_cookie(&cookie, LONGEST, headers))
    }

    /// Ends a visit; the value that removes its cookie.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(cookie) = cookie(headers) {
            self.visits().by_cookie.remove(&digest(cookie));
        }
        set_cookie("", Duration::ZERO, headers)
    }

    /// Who sends this; `None`: nobody that may.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        if let Some(name) = self.proxied(headers) {
            let signature = self.sign(&[b"proxy", name.as_bytes()]);
            return Some(Visitor { name, signature, has_cookie: false });
        }
        let cookie = cookie(headers)?;
        let now = self.clock.now().mono;
        let mut visits = self.visits();
        let visit = visits.by_cookie.get_mut(&digest(cookie)).filter(|v| !v.is_over(now))?;
        visit.seen = now;
        let signature = self.sign(&[b"cookie", cookie.as_bytes()]);
        Some(Visitor { name: TOKEN_NAME.into(), signature, has_cookie: true })
    }

    /// The name that the proxy tells. One header that holds one plain name: anything else was not of its making.
    fn proxied(&self, headers: &HeaderMap) -> Option<String> {
        let mut values = headers.get_all(self.proxy_header.as_ref()?).iter();
        let name = values.next()?.to_str().ok()?.trim();
        if values.next().is_some() || name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        // In the audit he would be whoever has the token.
        if name == TOKEN_NAME {
            return None;
        }
        let shown = Printable(name.as_bytes()).to_string();
        Some(truncate_on_char(&shown, MAX_NAME).to_owned())
    }

    fn sign(&self, parts: &[&[u8]]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes())
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    fn is_over(&self, now: Mono) -> bool {
        now - self.begun >= LONGEST || now - self.seen >= IDLE
    }
}

fn digest(text: &str) -> Secret {
    Sha256::digest(text).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The cookie of a request; where there are several, the first, which is of the longest path.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

/// Only over TLS, where a proxy says that the browser has come so: anybody who says it binds himself only.
fn set_cookie(value: &str, lifetime: Duration, headers: &HeaderMap) -> HeaderValue {
    let seconds = lifetime.as_secs();
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if is_tls { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // Hexadecimal digits always make a header.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the browser says that another site's page has made it send this.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, desk: &Shared) -> Result<Self, Fault> {
        desk.access.visitor(&parts.headers).ok_or_else(|| {
            if !desk.access.has_token() {
                return Fault::Forbidden("the proxy has not said who you are");
            }
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            Fault::LogIn((parts.method == Method::GET).then(|| path.to_owned()))
        })
    }
}

/// A form that a visitor has sent from a page of ours.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Shared> for Posted {
    type Rejection = Fault;

    async fn from_request(request: Request, desk: &Shared) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, desk).await?;
        let fields = form(&parts.headers, body).await?;
        let signature = fields.get("signature").unwrap_or("");
        if !bool::from(signature.as_bytes().ct_eq(visitor.signature.as_bytes())) {
            return Err(Fault::Forbidden(
                "this form is not of a page of yours, or too old; load the page again",
            ));
        }
        Ok(Self { visitor, fields })
    }
}

/// A form that needs no visitor: the one that makes him one.
pub(super) struct Anonymous(pub(super) Fields);

impl FromRequest<Shared> for Anonymous {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        Ok(Self(form(&parts.headers, body).await?))
    }
}

async fn form(headers: &HeaderMap, body: axum::body::Body) -> Result<Fields, Fault> {
    if is_foreign(headers) {
        return Err(Fault::Forbidden("another site's page has sent this"));
    }
    let bytes = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Fault::Input("what was sent is too long".into()))?;
    Ok(Fields::parse(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn access() -> Access {
        Access::new(Some(Password::from(TOKEN)), None, Clock::new())
    }

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn with_cookie(set: &HeaderValue) -> HeaderMap {
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        headers(header::COOKIE, &[&format!("theme=dark; {pair}")])
    }

    #[test]
    fn the_token_becomes_a_cookie_until_it_is_given_back() {
        let access = access();
        let set = access.log_in(TOKEN, &HeaderMap::new()).unwrap();
        let text = set.to_str().unwrap();
        assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict"), "{text}");
        assert!(!text.contains("0123456789abcdef0123"), "never the token itself");
        let visitor = access.visitor(&with_cookie(&set)).unwrap();
        assert_eq!(visitor.actor(), "console:token");
        let other = access
            .visitor(&with_cookie(&access.log_in(TOKEN, &HeaderMap::new()).unwrap()))
            .unwrap();
        assert_ne!(visitor.signature, other.signature, "a form is of one visit");
        access.log_out(&with_cookie(&set));
        assert_eq!(access.visitor(&with_cookie(&set)), None);
    }

    #[test]
    fn a_new_login_ends_the_visit_before_and_tls_binds_the_cookie() {
        let access = access();
        let first = access.log_in(TOKEN, &HeaderMap::new()).unwrap();
        assert!(!first.to_str().unwrap().contains("Secure"), "it would never come back");
        let mut sent = with_cookie(&first);
        sent.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let second = access.log_in(TOKEN, &sent).unwrap();
        assert!(second.to_str().unwrap().ends_with("; Secure"), "{second:?}");
        assert_eq!(access.visitor(&with_cookie(&first)), None);
        assert!(access.visitor(&with_cookie(&second)).is_some());
        assert_eq!(access.visits().by_cookie.len(), 1);
    }

    #[test]
    fn nobody_comes_in_without() {
        let access = access();
        let forged = HeaderValue::from_static("ovpn_warden_console=00");
        for headers in [HeaderMap::new(), with_cookie(&forged)] {
            assert_eq!(access.visitor(&headers), None);
        }
        for wrong in
            [&b""[..], b"0123456789abcdef0123456789abcde", b"0123456789abcdef0123456789abcdeF"]
        {
            assert_eq!(access.log_in(wrong, &HeaderMap::new()), Err(Refusal::Wrong));
        }
        // Without a header that is configured, none counts.
        let forged = headers(HeaderName::from_static("x-forwarded-user"), &["anna"]);
        assert_eq!(access.visitor(&forged), None);
    }

    #[test]
    fn after_many_wrong_tokens_all_wait() {
        let access = access();
        for _ in 0..MOST_FAILURES {
            assert_eq!(access.log_in(b"x", &HeaderMap::new()), Err(Refusal::Wrong));
        }
        assert_eq!(access.log_in(b"x", &HeaderMap::new()), Err(Refusal::Wait));
        assert_eq!(access.log_in(TOKEN, &HeaderMap::new()), Err(Refusal::Wait));
    }

    #[test]
    fn visits_are_few() {
        let access = access();
        let first = access.log_in(TOKEN, &HeaderMap::new()).unwrap();
        for _ in 0..MOST_VISITS {
            access.log_in(TOKEN, &HeaderMap::new()).unwrap();
        }
        assert_eq!(access.visits().by_cookie.len(), MOST_VISITS);
        assert_eq!(access.visitor(&with_cookie(&first)), None);
    }

    #[test]
    fn a_proxy_names_one_person() {
        let name = HeaderName::from_static("x-forwarded-user");
        let access = Access::new(None, Some(name.clone()), Clock::new());
        let who = |values: &[&str]| {
            access.visitor(&headers(name.clone(), values)).map(|visitor| visitor.actor())
        };
        assert_eq!(who(&["anna"]).as_deref(), Some("console:anna"));
        let long = "x".repeat(MAX_NAME + 1);
        for bad in [&[][..], &[""], &[" "], &["anna", "root"], &[&long], &["b\u{f6}b"], &["token"]]
        {
            assert_eq!(who(bad), None, "{bad:?}");
        }
        assert_eq!(
            access.log_in(TOKEN, &HeaderMap::new()),
            Err(Refusal::Wrong),
            "there is no token"
        );
    }

    #[test]
    fn forms_of_other_sites_are_known() {
        for (site, foreign) in
            [("same-origin", false), ("none", false), ("cross-site", true), ("same-site", true)]
        {
            let headers = headers(HeaderName::from_static("sec-fetch-site"), &[site]);
            assert_eq!(is_foreign(&headers), foreign, "{site}");
        }
        assert!(!is_foreign(&HeaderMap::new()), "the signature decides");
    }
}
