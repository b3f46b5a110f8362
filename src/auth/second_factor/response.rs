//! What clients send for a second factor, and how they are asked for it. A core.
//!
//! `SCRV1:` carries password and answer of a static challenge, `CRV1::` the answer to a dynamic
//! one in place of the password (OpenVPN's management-notes.txt, "Challenge/Response Protocol").

use base64::{Engine, engine::general_purpose::STANDARD};

use zeroize::Zeroizing;

use crate::types::{Password, Username};

/// The question that a client shows.
pub const PROMPT: &str = "Enter your one-time code";

/// Longest state of a challenge that is read, in bytes; ours are shorter.
const MAX_STATE: usize = 128;

/// What a client brings beside or in place of its password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Response {
    /// Nothing.
    #[default]
    None,
    /// The answer to a static challenge, with the password.
    Static(Password),
    /// The answer to a challenge of ours.
    Challenge {
        /// As it was sent with the challenge.
        state: Box<str>,
        /// The code.
        code: Password,
    },
}

impl Response {
    /// Takes apart what was sent as the password. What only looks like a response is a password.
    pub fn read(sent: Password) -> (Option<Password>, Self) {
        if let Some((password, code)) = scrv1(sent.expose()) {
            let code = if code.is_empty() { Self::None } else { Self::Static(code) };
            return (Some(password), code);
        }
        match crv1(sent.expose()) {
            Some(response) => (None, response),
            None => (Some(sent), Self::None),
        }
    }

    /// The code.
    pub const fn code(&self) -> Option<&Password> {
        match self {
            Self::None => None,
            Self::Static(code) | Self::Challenge { code, .. } => Some(code),
        }
    }

    /// The state of the challenge that is answered.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::Challenge { state, .. } => Some(state),
            Self::None | Self::Static(_) => None,
        }
    }
}

/// `SCRV1:base64(password):base64(answer)`.
fn scrv1(sent: &[u8]) -> Option<(Password, Password)> {
    let mut parts = sent.strip_prefix(b"SCRV1:")?.split(|byte| *byte == b':');
    let (password, code) = (parts.next()?, parts.next()?);
    let none_left = parts.next().is_none();
    decoded(password).zip(decoded(code)).filter(|_| none_left)
}

/// What base64 stands for. What was decoded before something that is none is wiped as well.
fn decoded(text: &[u8]) -> Option<Password> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(Password::new(std::mem::take(&mut bytes)))
}

/// `CRV1::state::answer`.
fn crv1(sent: &[u8]) -> Option<Response> {
    let rest = sent.strip_prefix(b"CRV1::")?;
    let end = rest.windows(2).position(|pair| pair == b"::").filter(|end| *end <= MAX_STATE)?;
    let state = std::str::from_utf8(&rest[..end]).ok()?.into();
    Some(Response::Challenge { state, code: Password::from(&rest[end + 2..]) })
}

/// The answer in `CR_RESPONSE`, which is base64. What is not can be no code: it is empty.
pub fn cr_response(answer: &Password) -> Password {
    decoded(answer.expose()).unwrap_or_default()
}

/// The text of a denial that asks for a code: the client comes again with the answer.
pub fn dynamic_challenge(state: &str, user: &Username) -> String {
    format!("CRV1:R,E:{state}:{}:{PROMPT}", STANDARD.encode(user.as_str()))
}

/// The text of a `client-pending-auth` that asks for a code.
pub fn cr_text() -> String {
    format!("CR_TEXT:R,E:{PROMPT}")
}

/// Whether `IV_SSO` says that the client can be asked so.
pub fn knows_cr_text(iv_sso: Option<&str>) -> bool {
    iv_sso.is_some_and(|methods| methods.split(',').any(|method| method.trim() == "crtext"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::MAX_PARAMETER;

    fn read(sent: &[u8]) -> (Option<Vec<u8>>, Response) {
        let (password, response) = Response::read(Password::from(sent));
        (password.map(|password| password.expose().to_vec()), response)
    }

    fn code(text: &[u8]) -> Password {
        Password::from(text)
    }

    #[test]
    fn a_static_response_is_the_password_and_the_code() {
        let (password, response) = read(b"SCRV1:cGE6c3M=:MTIzNDU2");
        assert_eq!(password.as_deref(), Some(&b"pa:ss"[..]));
        assert_eq!(response, Response::Static(code(b"123456")));
        let (password, response) = read(b"SCRV1:cGE6c3M=:");
        assert_eq!(password.as_deref(), Some(&b"pa:ss"[..]));
        assert_eq!(response, Response::None, "nothing was typed");
    }

    #[test]
    fn a_dynamic_response_is_a_state_and_the_code_and_no_password() {
        let expected = Response::Challenge { state: "abc".into(), code: code(b"12:34::5") };
        assert_eq!(read(b"CRV1::abc::12:34::5"), (None, expected));
    }

    #[test]
    fn what_only_looks_like_a_response_is_a_password() {
        let long = format!("CRV1::{}::1", "x".repeat(MAX_STATE + 1));
        for sent in [
            &b"hunter2"[..],
            b"SCRV1:",
            b"SCRV1:cGE=",
            b"SCRV1:cGE=:MTI=:MTI=",
            b"SCRV1:p!:MTI=",
            b"SCRV1:cGE=:\xff",
            b"scrv1:cGE=:MTI=",
            b"CRV1:abc:1",
            b"CRV1::abc:1",
            b"CRV1::\xff::1",
            long.as_bytes(),
        ] {
            assert_eq!(read(sent), (Some(sent.to_vec()), Response::None), "{sent:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_base64_is_no_code() {
        assert_eq!(cr_response(&code(b"MTIzNDU2")), code(b"123456"));
        assert_eq!(cr_response(&code(b"123\xff")), Password::default());
    }

    #[test]
    fn a_challenge_fits_one_parameter_for_every_name() {
        let state = super::super::challenge::longest();
        let user = "é".repeat(Username::MAX_LEN / 2).parse().unwrap();
        let text = dynamic_challenge(&state, &user);
        assert!(text.len() <= MAX_PARAMETER && !text.contains(['"', '\\']), "{}", text.len());
        let [kind, flags, sent, name, prompt] =
            text.split(':').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((kind, flags, sent, prompt), ("CRV1", "R,E", &*state, PROMPT));
        assert_eq!(STANDARD.decode(name).unwrap(), user.as_str().as_bytes());
    }

    #[test]
    fn a_client_that_knows_cr_text_says_so() {
        for (methods, expected) in [
            (Some("webauth,openurl,crtext"), true),
            (Some("crtext"), true),
            (Some("webauth, crtext"), true),
            (Some("webauth,crtextual"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(knows_cr_text(methods), expected, "{methods:?}");
        }
    }
}
