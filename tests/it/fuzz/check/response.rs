//! What a client sends in place of its password: answers to challenges, tokens, codes. What is
//! not exactly one of them is a password.

use ovpn_warden::{
    auth::{
        second_factor::{
            challenge::{Seal, Subject},
            response::{Response, cr_response},
            totp::{Candidate, judge},
        },
        token::Token,
    },
    store::SecondFactor,
    types::{Password, Timestamp, Username},
};

/// Longest state that is taken.
const MAX_STATE: usize = 128;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Codes of the secret of RFC 4226 for the steps 0, 1 and 2.
const CODES: [&str; 3] = ["755224", "287082", "359152"];
/// A moment of step 1, and a later one.
const NOW: Timestamp = Timestamp::from_secs(59);

struct Desk {
    seal: Seal,
    user: Username,
    state: String,
    factor: SecondFactor,
}

thread_local! {
    static DESK: Desk = {
        let (seal, user) = (Seal::new(Password::new(vec![7; 32])), "alice".parse().unwrap());
        let state = seal.make(Subject { user: &user, device: &Ok(None) }, NOW, [9; 8]);
        let secret = Password::from(&b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"[..]);
        let factor = SecondFactor { secret, last_step: None, enrolled_at: Timestamp::from_secs(0) };
        Desk { seal, user, state, factor }
    };
}

/// Checks one input: what was sent as the password.
pub(crate) fn check(sent: &[u8]) {
    let (password, response) = Response::read(Password::from(sent));
    let password = password.as_ref().map(Password::expose);
    let code = response.code().map(Password::expose);
    match (scrv1(sent), crv1(sent)) {
        (Some((right, answer)), _) => {
            assert_eq!(password, Some(&*right));
            assert_eq!(code, (!answer.is_empty()).then_some(&*answer));
            assert_eq!(response.state(), None);
        }
        (None, Some((state, answer))) => {
            assert_eq!((password, response.state(), code), (None, Some(state), Some(answer)));
        }
        (None, None) => assert_eq!((password, response), (Some(sent), Response::None)),
    }
    assert_eq!(cr_response(&Password::from(sent)).expose(), decoded(sent).unwrap_or_default());
    token(sent);
    DESK.with(|desk| {
        code_is_one_of(desk, sent);
        state_is_ours(desk, sent);
        if let Some((state, answer)) = crv1(sent) {
            code_is_one_of(desk, answer);
            state_is_ours(desk, state.as_bytes());
        }
    });
    written(sent);
}

/// `SCRV1:base64:base64`.
fn scrv1(sent: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let parts: Vec<&[u8]> = sent.split(|byte| *byte == b':').collect();
    let [b"SCRV1", password, answer] = parts[..] else { return None };
    decoded(password).zip(decoded(answer))
}

/// `CRV1::state::answer`.
fn crv1(sent: &[u8]) -> Option<(&str, &[u8])> {
    let rest = sent.strip_prefix(b"CRV1::")?;
    let end = (0..rest.len().min(MAX_STATE + 1)).find(|at| rest[*at..].starts_with(b"::"))?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 2..]))
}

/// Base64 with its padding and without a bit too much.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count, mut letters) = (0u32, 0, 0);
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    for byte in &text[..text.len() - padding] {
        let value = STANDARD.iter().position(|letter| letter == byte)?;
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        letters += 1;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let is_whole = match letters % 4 {
        0 => padding == 0,
        2 => padding == 2,
        3 => padding == 1,
        _ => false,
    };
    (is_whole && bits == 0).then_some(out)
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number =
            (0..3).fold(0, |n, at| n << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for letter in 0..4 {
            let value = number >> (18 - 6 * letter) & 63;
            text.push(if letter > group.len() { '=' } else { char::from(STANDARD[value]) });
        }
    }
    text
}

/// Whatever is typed comes out as it was.
fn written(typed: &[u8]) {
    let (password, code) = typed.split_at(typed.len() / 2);
    let sent = format!("SCRV1:{}:{}", encoded(password), encoded(code));
    let (read, response) = Response::read(Password::from(sent.as_bytes()));
    assert_eq!(read.as_ref().map(Password::expose), Some(password));
    assert_eq!(response.code().map_or(&b""[..], Password::expose), code);
}

/// A token is one only with OpenVPN's word for it, and says when it was made.
fn token(sent: &[u8]) {
    assert_eq!(Token::read(sent, None), None);
    let read = Token::read(sent, Some(b"Authenticated"));
    let Some(text) = sent.strip_prefix(b"SESS_ID_AT_") else { return assert_eq!(read, None) };
    let read = read.unwrap();
    let bytes = decoded(text).filter(|bytes| bytes.len() == 60);
    let seconds = bytes.map(|bytes| {
        bytes[12..20].iter().fold(0i128, |number, byte| number << 8 | i128::from(*byte))
    });
    let seconds = seconds.filter(|seconds| *seconds < 253_402_300_800);
    assert_eq!(read.first_login.map(|at| i128::from(at.as_secs())), seconds);
    assert!(read.is_valid && read.stands_for(None));
    assert!(!Token::read(sent, Some(b"Expired")).unwrap().stands_for(None));
}

fn code_is_one_of(desk: &Desk, typed: &[u8]) {
    let plain: String = typed
        .iter()
        .filter(|byte| !b" \t\n\x0c\r-".contains(byte))
        .map(|b| char::from(*b))
        .collect();
    let judged = judge(&Password::from(typed), 7, &desk.factor, NOW).unwrap();
    let step = CODES.iter().position(|code| *code == plain).filter(|_| typed.len() <= 64);
    match step {
        Some(step) => assert_eq!(judged, Candidate::Step(step as u64)),
        None => assert!(!matches!(judged, Candidate::Step(_)), "{typed:?} is no code"),
    }
}

/// Nobody but us makes a state.
fn state_is_ours(desk: &Desk, sent: &[u8]) {
    let Ok(state) = std::str::from_utf8(sent) else { return };
    let signed = desk.seal.signed(state, Subject { user: &desk.user, device: &Ok(None) });
    assert_eq!(signed, (state == desk.state).then_some(NOW), "{state:?}");
}
