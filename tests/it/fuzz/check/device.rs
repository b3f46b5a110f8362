//! Devices: any notation of one is the same device, and what is not clearly one is refused.

use std::str::from_utf8;

use ovpn_warden::{
    auth::device::{DeviceError, DeviceSource, claim, fingerprint},
    proto::Env,
    types::{DeviceId, MacAddr, MacError},
};

/// Variables that carry a device, and one that does not.
const NAMES: [&str; 4] = ["UV_CLIENT_MAC", "IV_HWADDR", "tls_digest_sha256_0", "UV_OTHER"];
/// Most variables.
const MOST: usize = 8;

thread_local! {
    static SOURCES: [DeviceSource; 3] = [NAMES[0], NAMES[1], NAMES[2]].map(|n| n.parse().unwrap());
}

/// Checks one input: values with LF between them; the first byte of each says which variable it is
/// of.
pub(crate) fn check(input: &[u8]) {
    let mut env = Env::default();
    let mut sent: Vec<(usize, &[u8])> = Vec::new();
    for line in input.split(|byte| *byte == b'\n').take(MOST) {
        let Some((which, value)) = line.split_first() else { continue };
        let which = usize::from(*which) % NAMES.len();
        env.push(NAMES[which].as_bytes(), value);
        sent.push((which, value));
        if let Ok(text) = from_utf8(value) {
            read(text);
        }
    }
    SOURCES.with(|sources| claimed(&env, &sent, sources));
}

fn read(text: &str) {
    let found = DeviceId::parse(text);
    assert_eq!(found, expected(text), "{text:?}");
    assert_eq!(text.parse::<MacAddr>(), mac(text).unwrap_or(Err(MacError::Malformed)), "{text:?}");
    if let Ok(id) = found {
        let shown = id.to_string();
        assert!(shown.len() <= DeviceId::MAX_LEN && shown.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(DeviceId::parse(&shown), Ok(id), "{text:?} as it is stored");
    }
}

/// The rules of a device's text, written a second time.
fn expected(text: &str) -> Result<DeviceId, MacError> {
    if let Some(digits) = digest(text) {
        return Ok(DeviceId::Fingerprint(Box::new(
            format!("sha256:{digits}").parse().map_err(|_| MacError::Malformed)?,
        )));
    }
    if let Some(mac) = mac(text) {
        return mac.map(DeviceId::Mac);
    }
    if text.as_bytes().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sha256:")) {
        return Err(MacError::Malformed);
    }
    let parts: Vec<&str> = text.split([',', ';', '|', '/', '+']).collect();
    if parts.len() > 1 && parts.iter().any(|part| mac(part).is_some()) {
        return Err(MacError::Several);
    }
    let shortest = if text.contains([':', '.', '-', '_']) { 32 } else { 16 };
    let is_opaque = text.len() >= shortest
        && text.len() <= 255
        && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if is_opaque { Ok(DeviceId::Opaque(text.into())) } else { Err(MacError::Malformed) }
}

/// The digits of a fingerprint in a notation that can be none of a client's own ids.
fn digest(text: &str) -> Option<String> {
    let marked = text.get(..7).filter(|start| start.eq_ignore_ascii_case("sha256:"));
    let digits = if marked.is_some() { &text[7..] } else { text };
    let groups: Vec<&str> = digits.split(':').collect();
    let is_form = match groups.len() {
        1 => marked.is_some() && digits.len() == 64,
        32 => groups.iter().all(|group| group.len() == 2),
        _ => false,
    };
    let plain = groups.concat();
    (is_form && plain.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(plain)
}

/// What an address in one of the notations is; `None`: it is in none of them.
fn mac(text: &str) -> Option<Result<MacAddr, MacError>> {
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths = |groups: &[&str]| groups.iter().map(|group| group.len()).collect::<Vec<_>>();
    let padded = [':', '-', '.'].iter().find_map(|separator| {
        let groups: Vec<&str> = text.split(*separator).collect();
        let is_form =
            matches!(lengths(&groups)[..], [2, 2, 2, 2, 2, 2] | [4, 4, 4] | [6, 6] | [12]);
        (is_form && groups.iter().all(is_hex)).then(|| groups.concat())
    });
    let short = [':', '-'].iter().find_map(|separator| {
        let groups: Vec<&str> = text.split(*separator).collect();
        let is_short =
            |group: &str| group.len() == 1 || group.len() == 2 && !group.starts_with('0');
        (groups.len() == 6 && groups.iter().all(|group| is_hex(group) && is_short(group)))
            .then(|| groups.iter().map(|group| format!("{group:0>2}")).collect::<String>())
    });
    let digits = padded.or(short)?;
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let octets = number.to_be_bytes();
    let [_, _, octets @ ..] = octets;
    Some(match number {
        0 => Err(MacError::Zero),
        0xffff_ffff_ffff => Err(MacError::Broadcast),
        _ if octets[0] % 2 == 1 => Err(MacError::Multicast),
        _ => MacAddr::from_octets(octets),
    })
}

/// What a client is taken for that sent these variables.
fn claimed(env: &Env, sent: &[(usize, &[u8])], sources: &[DeviceSource]) {
    let certificate = 2;
    let id = |which: usize, value: &[u8]| {
        let id = expected(from_utf8(value).map_err(|_| MacError::Malformed)?)?;
        match id {
            DeviceId::Fingerprint(_) if which != certificate => Err(MacError::Fingerprint),
            DeviceId::Mac(_) | DeviceId::Opaque(_) if which == certificate => {
                Err(MacError::Malformed)
            }
            id @ (DeviceId::Mac(_) | DeviceId::Opaque(_) | DeviceId::Fingerprint(_)) => Ok(id),
        }
    };
    let found = claim(env, sources);
    let mut first = None;
    let mut conflicts = Vec::new();
    for (which, name) in NAMES.iter().enumerate() {
        let values: Vec<&[u8]> =
            sent.iter().filter(|(w, _)| *w == which).map(|(_, v)| *v).collect();
        let Some(value) = values.first() else { continue };
        // Several values are one where all are the same device, or the same bytes.
        let is_one = values.iter().all(|other| {
            other == value || id(which, value).is_ok() && id(which, other) == id(which, value)
        });
        if !is_one {
            conflicts.push(DeviceError::Conflicting(name.parse().unwrap()));
        }
        if which < sources.len() && first.is_none() && !value.is_empty() {
            first = Some((which, id(which, value)));
        }
    }
    if !conflicts.is_empty() {
        // Whichever of them was sent first.
        assert!(found.is_err_and(|error| conflicts.contains(&error)));
        return;
    }
    match (found, first) {
        (Ok(None), None) => {}
        (Ok(Some(claim)), Some((which, Ok(id)))) => {
            assert_eq!((claim.source, claim.id), (sources[which].clone(), id));
        }
        (Err(DeviceError::Unusable { source_name, error }), Some((which, Err(expected)))) => {
            assert_eq!((source_name, error), (sources[which].clone(), expected));
        }
        (found, first) => panic!("{found:?} of {first:?}"),
    }
    let last = sent.iter().rev().find(|(which, _)| *which == certificate);
    if let Some(fingerprint) = fingerprint(env) {
        let text = from_utf8(last.unwrap().1).unwrap().replace(':', "").to_ascii_lowercase();
        assert_eq!(fingerprint.to_string(), format!("sha256:{text}"));
    }
}
