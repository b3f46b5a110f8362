//! Lines for one client, as operators write them and the database holds them: taken where every
//! rule holds, which are written here a second time, and nowhere else.

use std::net::{IpAddr, Ipv6Addr};

use ovpn_warden::{
    auth::client_config::{Change, LineError, changed},
    proto::{Command, ConfigLine, limits::MAX_CONFIG_LINE},
    store::{ConfigOwner, MAX_CLIENT_LINES},
    types::{Cid, Kid},
};

use super::{command::are_read_as_meant, lexer::parse_line};

/// Most lines of one input.
const MOST: usize = 12;
/// Of these one owner has one.
const SINGLE: [&str; 6] = [
    "ifconfig-push",
    "ifconfig-ipv6-push",
    "inactive",
    "ping",
    "ping-restart",
    "max-routes-per-client",
];

thread_local! {
    static OWNER: ConfigOwner = ConfigOwner::User("alice".parse().unwrap());
}

/// Checks one input: lines with LF between them.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let texts: Vec<&str> = text.split('\n').take(MOST).collect();
    let mut config = Vec::new();
    for text in &texts {
        let parsed = ConfigLine::parse(text);
        assert_eq!(parsed.is_ok(), is_sound(text), "{text:?}: {parsed:?}");
        let Ok(line) = parsed else { continue };
        assert_eq!(line.as_str(), text.trim_matches(' '));
        let words = parse_line(line.as_str().as_bytes()).unwrap().words;
        assert_eq!(line.option().as_bytes(), words[0]);
        let address = words.get(1).filter(|_| words[0].starts_with(b"ifconfig-"));
        let address = address.map(|word| String::from_utf8_lossy(word).into_owned());
        let address = address.and_then(|text| text.split('/').next()?.parse::<IpAddr>().ok());
        assert_eq!(line.address(), address, "{text:?}");
        config.push(line);
    }
    if !config.is_empty() {
        are_read_as_meant(&[Command::ClientAuth { cid: Cid(1), kid: Kid(2), config }]);
    }
    OWNER.with(|owner| stored(owner, &texts));
}

fn stored(owner: &ConfigOwner, texts: &[&str]) {
    let add = texts.iter().map(|text| (*text).to_owned()).collect();
    let is_refused = |text: &&&str| {
        let option = ConfigLine::parse(text).map(|line| line.option());
        matches!(option, Err(_) | Ok("session-timeout" | "disable"))
    };
    let first = texts.iter().find(is_refused);
    match changed(owner, &[], &Change { add, ..Change::default() }) {
        Err((text, LineError::TooMany)) => panic!("{text:?} is not the {MAX_CLIENT_LINES}th"),
        Err((text, _)) => assert_eq!(Some(&text.as_str()), first),
        Ok(lines) => {
            assert_eq!(first, None);
            let lines: Vec<ConfigLine> =
                lines.iter().map(|new| ConfigLine::parse(&new.line.text).unwrap()).collect();
            for (number, line) in lines.iter().enumerate() {
                let others = &lines[number + 1..];
                assert!(!others.contains(line), "{line:?} stands twice");
                let is_single = SINGLE.contains(&line.option());
                assert!(!is_single || others.iter().all(|o| o.option() != line.option()));
            }
        }
    }
}

fn is_sound(text: &str) -> bool {
    let text = text.trim_matches(' ');
    if text.len() > MAX_CONFIG_LINE || text.chars().any(char::is_control) {
        return false;
    }
    let Some(words) = words(text) else { return false };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["push-reset" | "disable"] => true,
        ["session-timeout" | "ping" | "ping-restart" | "max-routes-per-client", seconds] => {
            is_number(seconds)
        }
        ["inactive", seconds] => is_number(seconds),
        ["inactive", seconds, bytes] => is_number(seconds) && is_number(bytes),
        ["push-remove", option] => !option.trim().is_empty(),
        ["iroute", network] => is_address(network),
        ["iroute", "0.0.0.0", "0.0.0.0"] => true,
        ["iroute", network, mask] => is_address(network) && is_network(network, mask),
        ["iroute-ipv6", network] => is_network6(network) && is_learnt6(network),
        ["ifconfig-ipv6-push", network, gateway] => {
            is_network6(network) && gateway.parse::<Ipv6Addr>().is_ok()
        }
        ["ifconfig-push", address, mask] => is_host(address, mask),
        ["ifconfig-push", address, mask, alias] => is_host(address, mask) && is_address(alias),
        ["push", option] => is_pushable(option),
        [..] => false,
    }
}

/// The words of a line that has some, and no comment.
fn words(text: &str) -> Option<Vec<String>> {
    let lexed = parse_line(text.as_bytes()).ok().filter(|lexed| !lexed.has_comment)?;
    lexed.words.into_iter().map(|word| String::from_utf8(word).ok()).collect()
}

fn is_pushable(option: &str) -> bool {
    // What is blank to a person is no option either.
    if option.trim().is_empty() {
        return false;
    }
    let Some(words) = words(option).filter(|_| !option.contains(',')) else { return false };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_digit = |text: &str| text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    match words[..] {
        [] | ["" | "route" | "route-ipv6"] => false,
        ["", ..] => false,
        ["dhcp-option", "DNS" | "DNS6", ref servers @ ..] => {
            matches!(servers, [server] if server.parse::<IpAddr>().is_ok())
        }
        ["route", network] if is_digit(network) => is_address(network),
        ["route", network, mask, ref rest @ ..] if is_digit(network) => {
            is_network(network, mask) && rest.len() <= 2
        }
        ["route-ipv6", network] => is_network6(network),
        ["route-ipv6", network, gateway, ref rest @ ..] => {
            is_network6(network)
                && gateway.parse::<Ipv6Addr>().is_ok()
                && rest.len() <= 1
                && rest.iter().all(|metric| *metric == "0" || is_number(metric))
        }
        [..] => true,
    }
}

/// From 1 to what a C `int` holds.
fn is_number(text: &str) -> bool {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.trim_start_matches('0');
    is_plain
        && (1..=10).contains(&digits.len())
        && digits.parse::<u64>().is_ok_and(|number| number < 1 << 31)
}

/// Four numbers of a byte each, without zeros before them.
fn number4(text: &str) -> Option<u32> {
    let octet = |part: &str| {
        let is_plain = (1..=3).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'));
        part.parse::<u8>().ok().filter(|_| is_plain)
    };
    let parts: Option<Vec<u8>> = text.split('.').map(octet).collect();
    Some(u32::from_be_bytes(parts?.try_into().ok()?))
}

fn is_address(text: &str) -> bool {
    number4(text).is_some_and(|address| address != 0)
}

/// Ones, then zeros.
fn mask(text: &str) -> Option<u32> {
    number4(text).filter(|mask| (0..=32).any(|bits| *mask == ((!0u64 << (32 - bits)) as u32)))
}

fn is_network(address: &str, network_mask: &str) -> bool {
    number4(address)
        .zip(mask(network_mask))
        .is_some_and(|(address, mask)| address & mask == address)
}

/// An address that one client can have: beside a mask from /8 to /30, neither the first nor the
/// last of its network.
fn is_host(address: &str, second: &str) -> bool {
    if !is_address(address) || !is_address(second) {
        return false;
    }
    let (Some(address), Some(mask)) = (number4(address), mask(second)) else { return true };
    if mask.count_ones() < 8 || mask.count_ones() > 30 {
        return true;
    }
    let last = !mask;
    ![0, last].contains(&(address & last))
}

/// Bit by bit: not all zeros, but for less than eight bits of network, and not all ones.
fn is_learnt6(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap();
    let (address, bits) = (address.parse::<Ipv6Addr>().unwrap(), bits.parse::<usize>().unwrap());
    let network = (0..bits).map(|bit| address.octets()[bit / 8] << (bit % 8) & 0x80 != 0);
    let ones = network.filter(|is_one| *is_one).count();
    ones < 128 && (ones > 0 || bits < 8)
}

fn is_network6(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    address.parse::<Ipv6Addr>().is_ok()
        && (bits == "0" || is_number(bits))
        && bits.parse::<u64>().is_ok_and(|bits| bits <= 128)
}
