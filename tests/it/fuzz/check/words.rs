//! Names, ids, sizes and durations as people, clients and databases write them: what is taken is
//! within its bounds and reads the same again.

use ovpn_warden::{
    auth::device::DeviceSource,
    store::DayMarks,
    types::{
        Bytes, Fingerprint, Period, Printable, Quotas, ServerName, SessionId, Timestamp, Username,
        Zone, parse_bytes, parse_duration, truncate_on_char,
    },
};

/// Checks one input.
pub(crate) fn check(input: &[u8]) {
    shown(input);
    let user = Username::from_bytes(input);
    let Ok(text) = std::str::from_utf8(input) else { return assert!(user.is_err()) };
    let is_user = (1..=128).contains(&input.len()) && !text.chars().any(char::is_control);
    assert_eq!(user.is_ok(), is_user, "{text:?}");
    assert!(user.is_err() || user.unwrap().to_string() == text);
    cut(text);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_server = (1..=64).contains(&text.len()) && text.chars().all(is_plain);
    assert_eq!(text.parse::<ServerName>().is_ok(), is_server, "{text:?}");
    if let Ok(id) = text.parse::<SessionId>() {
        let digits = |text: &str| {
            text.to_ascii_lowercase().replace("urn:uuid:", "").replace(['{', '}', '-'], "")
        };
        assert_eq!(digits(text), digits(&id.to_string()));
        assert!(id.to_string().len() == 36 && id.to_string().parse() == Ok(id));
    }
    if let Ok(source) = text.parse::<DeviceSource>() {
        assert!(text.len() <= 64 && source.to_string() == text);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        let stored = fingerprint.to_string();
        assert!(stored.len() == 71 && stored.parse() == Ok(fingerprint));
    }
    if let Ok(zone) = text.parse::<Zone>() {
        assert_eq!(zone.to_string(), text);
    }
    if let Ok(marks) = text.parse::<DayMarks>() {
        assert!(marks.iter().count() <= DayMarks::MOST);
        let again = marks.to_string().parse::<DayMarks>();
        let is_far = marks.iter().any(|mark| mark.at.as_millis() % 1_000 != 0);
        assert!(is_far || again == Ok(marks), "{text:?}");
    }
    amounts(text);
    moments(text);
}

/// What is shown is one line that no terminal interprets, and the text itself where it is harmless.
fn shown(bytes: &[u8]) {
    let shown = Printable(bytes).to_string();
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(u32::from(c),
                0x61c | 0x200e | 0x200f | 0x2028..=0x202e | 0x2066..=0x2069 | 0xfeff)
    };
    assert!(!shown.contains(is_harmful), "{shown:?}");
    assert!(shown.len() <= 8 * bytes.len());
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains(is_harmful)
    {
        assert_eq!(shown, text);
    }
}

fn cut(text: &str) {
    for most in [0, 1, 31, text.len() / 2, text.len()] {
        let kept = truncate_on_char(text, most);
        assert!(kept.len() <= most && text.starts_with(kept));
        let next = text[kept.len()..].chars().next();
        assert!(next.is_none_or(|c| kept.len() + c.len_utf8() > most), "{text:?}");
    }
}

fn amounts(text: &str) {
    let seconds = parse_duration(text).map(|time| u128::from(time.as_secs()));
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
    assert_eq!(seconds, sum(text, &units), "{text:?}");
    if let Some(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&Bytes(bytes).to_string()), Some(bytes), "{text:?}");
        assert!(text.starts_with(|c: char| c.is_ascii_digit()));
    }
    for (quotas, unit) in [(Quotas::parse_time(text), "s"), (Quotas::parse_data(text), "B")] {
        let Ok(quotas) = quotas else { continue };
        let parts: Vec<String> =
            quotas.iter().map(|(period, limit)| format!("{limit}{unit}/{period}")).collect();
        assert!(!parts.is_empty() && parts.len() == text.split(',').count(), "{text:?}");
        let again = parts.join(",");
        let again =
            if unit == "s" { Quotas::parse_time(&again) } else { Quotas::parse_data(&again) };
        assert_eq!(again, Ok(quotas), "{text:?}");
        assert!(Period::ALL.iter().all(|p| quotas.of(*p).is_none_or(|n| n <= i64::MAX as u64)));
    }
}

/// `1h30m` by the sum of its parts, none of them over 64 bits.
fn sum(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    let mut total = 0u128;
    let mut rest = text;
    loop {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = u128::from(rest[..unit].parse::<u64>().ok()?);
        let after = &rest[unit..];
        let (name, factor) = match units.iter().find(|(name, _)| after.starts_with(name)) {
            Some((name, factor)) => (*name, *factor),
            None if after.is_empty() => ("", 1),
            None => return None,
        };
        total += number * factor;
        rest = &after[name.len()..];
        if total > u128::from(u64::MAX) {
            return None;
        }
        if rest.is_empty() {
            return Some(total);
        }
    }
}

fn moments(text: &str) {
    let now = Timestamp::from_secs(1_795_435_003);
    if let Ok(at) = Timestamp::parse(text, now) {
        assert!(at <= Timestamp::MAX, "{text:?}");
        let (first, shown) = (Timestamp::from_secs(-62_167_219_200), at.to_string());
        assert!(at < first || shown.parse() == Ok(at), "{text:?} is {shown}");
    }
}
