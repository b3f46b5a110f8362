//! One line of a `client-auth` body.
//!
//! OpenVPN answers SUCCESS to a body whatever is in it: a line that it cannot use is ignored, or
//! comes to something else, and the client connects without its restriction. So a line is taken
//! only when its option and its arguments are known to work in a client's context. What is
//! refused here was seen to go wrong on OpenVPN 2.6.14 (docs/protocol.md).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::{
    lexer::{self, LexError},
    limits::MAX_CONFIG_LINE,
};

/// An option that OpenVPN takes for one client, with sound arguments: one line of at most
/// [`MAX_CONFIG_LINE`] bytes, never `END`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine(Box<str>);

/// Why a text is no line of a `client-auth` body. Never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigLineError {
    /// Nothing but blanks.
    #[error("the line is empty")]
    Empty,
    /// Over [`MAX_CONFIG_LINE`].
    #[error("the line is longer than {MAX_CONFIG_LINE} bytes")]
    TooLong,
    /// OpenVPN deletes such characters before it reads the line.
    #[error("the line has a control character")]
    Control,
    /// OpenVPN could not read it.
    #[error(transparent)]
    Lexer(#[from] LexError),
    /// What follows would be lost.
    #[error("the line has a comment: quote `#` and `;`")]
    Comment,
    /// No option, or none for one client.
    #[error("this option cannot be set for one client; possible are {}", names())]
    Option,
    /// The option's arguments; with what it wants.
    #[error("wrong arguments: use `{0}`")]
    Arguments(&'static str),
}

impl ConfigLine {
    /// `session-timeout N`: OpenVPN (2.6+) itself ends the session after so many seconds, at least
    /// 1 and at most 2^31-1. It takes 0 and anything over as "no time-out", without a word.
    pub fn session_timeout(seconds: u32) -> Self {
        Self(format!("session-timeout {}", seconds.clamp(1, MAX_INT)).into())
    }

    /// From an operator's text; blanks around it are dropped.
    ///
    /// # Errors
    /// Where OpenVPN would not do what the line says.
    pub fn parse(text: &str) -> Result<Self, ConfigLineError> {
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err(ConfigLineError::Empty);
        }
        if text.len() > MAX_CONFIG_LINE {
            return Err(ConfigLineError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ConfigLineError::Control);
        }
        let lexed = lexer::words(text.as_bytes())?;
        if lexed.has_comment {
            return Err(ConfigLineError::Comment);
        }
        let words: Vec<&str> =
            lexed.words.iter().filter_map(|word| std::str::from_utf8(word).ok()).collect();
        let (option, arguments) = words.split_first().ok_or(ConfigLineError::Empty)?;
        let rule = RULES.iter().find(|rule| rule.name == *option).ok_or(ConfigLineError::Option)?;
        if !(rule.accepts)(arguments) {
            return Err(ConfigLineError::Arguments(rule.usage));
        }
        Ok(Self(text.into()))
    }

    /// The line, without its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first word: `ifconfig-push`.
    pub fn option(&self) -> &'static str {
        let words = lexer::words(self.0.as_bytes()).unwrap_or_default().words;
        let rule =
            RULES.iter().find(|rule| words.first().is_some_and(|w| w == rule.name.as_bytes()));
        rule.map_or("", |rule| rule.name)
    }

    /// The address that it gives to the client.
    pub fn address(&self) -> Option<IpAddr> {
        let words = lexer::words(self.0.as_bytes()).ok()?.words;
        let [option, address, ..] = words.as_slice() else { return None };
        let address = std::str::from_utf8(address).ok()?;
        match option.as_slice() {
            b"ifconfig-push" => address.parse().ok().map(IpAddr::V4),
            b"ifconfig-ipv6-push" => address.split_once('/')?.0.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    }
}

/// OpenVPN keeps numbers in an `int`.
const MAX_INT: u32 = i32::MAX as u32;

struct Rule {
    name: &'static str,
    usage: &'static str,
    accepts: fn(&[&str]) -> bool,
}

/// What `CLIENT_CONNECT_OPT_MASK` (multi.h) lets through in 2.4 to 2.7 and is of use to one client.
/// Left out on purpose: `config` (opens files), `echo`, `auth-token…`, `comp…`, `socket-flags`,
/// `cipher`, `vlan-pvid` and `override-username` (changes who the client is; 2.7 only).
const RULES: [Rule; 13] = [
    // One argument: `push route 10.0.0.0` is ignored. A comma ends an option on its way.
    Rule {
        name: "push",
        usage: "push \"OPTION\", quoted, without a comma; and in a `route`, `route-ipv6` or \
                `dhcp-option DNS` whole addresses: a network with its mask or bits and nothing beyond them",
        accepts: |arguments| matches!(arguments, [option] if is_pushable(option)),
    },
    Rule { name: "push-reset", usage: "push-reset", accepts: |arguments| arguments.is_empty() },
    Rule {
        name: "push-remove",
        usage: "push-remove OPTION",
        // An empty prefix would remove all.
        accepts: |arguments| matches!(arguments, [option] if !option.trim().is_empty()),
    },
    Rule {
        name: "ifconfig-push",
        usage: "ifconfig-push ADDRESS NETMASK-OR-PEER [ALIAS]",
        accepts: |arguments| {
            (2..=3).contains(&arguments.len())
                && arguments.iter().all(|a| is_address(a))
                && !is_end_of_network(arguments[0], arguments[1])
        },
    },
    Rule {
        name: "ifconfig-ipv6-push",
        // Without the gateway it depends on the server's own configuration.
        usage: "ifconfig-ipv6-push ADDRESS/BITS GATEWAY",
        accepts: |arguments| {
            matches!(arguments, [address, gateway]
                if is_network6(address) && gateway.parse::<Ipv6Addr>().is_ok())
        },
    },
    Rule {
        name: "iroute",
        usage: "iroute NETWORK [NETMASK], the network without host bits",
        accepts: |arguments| match arguments {
            [network] => is_address(network),
            [network, mask] => is_network(network, mask) && (is_address(network) || is_any(mask)),
            [] | [_, _, ..] => false,
        },
    },
    Rule {
        name: "iroute-ipv6",
        usage: "iroute-ipv6 NETWORK/BITS",
        accepts: |arguments| matches!(arguments, [network] if is_learnt6(network)),
    },
    Rule { name: "session-timeout", usage: "session-timeout SECONDS", accepts: is_one_number },
    Rule {
        name: "inactive",
        usage: "inactive SECONDS [BYTES]",
        accepts: |arguments| {
            (1..=2).contains(&arguments.len()) && arguments.iter().all(|a| is_number(a))
        },
    },
    Rule { name: "ping", usage: "ping SECONDS", accepts: is_one_number },
    Rule { name: "ping-restart", usage: "ping-restart SECONDS", accepts: is_one_number },
    Rule {
        name: "max-routes-per-client",
        usage: "max-routes-per-client NUMBER",
        accepts: is_one_number,
    },
    Rule { name: "disable", usage: "disable", accepts: |arguments| arguments.is_empty() },
];

fn names() -> String {
    RULES.map(|rule| rule.name).join(", ")
}

fn is_one_number(arguments: &[&str]) -> bool {
    matches!(arguments, [number] if is_number(number))
}

/// Digits, 1 to 2^31-1: OpenVPN reads anything else as 0, which means no limit.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse().is_ok_and(|number: u32| (1..=MAX_INT).contains(&number))
}

/// A literal: `ifconfig-push` would look a name up while all clients wait, `iroute` would take it
/// for 0.0.0.0.
fn is_address(text: &str) -> bool {
    text.parse().is_ok_and(|address: Ipv4Addr| !address.is_unspecified())
}

/// The mask of all addresses: a client that everything is behind.
fn is_any(mask: &str) -> bool {
    netmask(mask) == Some(0)
}

/// The bits of a netmask: a run of ones, then zeros.
fn netmask(text: &str) -> Option<u32> {
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (mask.leading_ones() == mask.count_ones()).then_some(mask)
}

/// A netmask, and an address without bits beyond it: systems refuse a route with some.
fn is_network(address: &str, mask: &str) -> bool {
    match (address.parse::<Ipv4Addr>(), netmask(mask)) {
        (Ok(address), Some(mask)) => address.to_bits() & !mask == 0,
        _ => false,
    }
}

/// Whether a client would have the address of the network itself, or its broadcast address. What
/// is no netmask is the address of a peer.
fn is_end_of_network(address: &str, mask: &str) -> bool {
    let (Ok(address), Some(mask)) = (address.parse::<Ipv4Addr>(), netmask(mask)) else {
        return false;
    };
    let host = address.to_bits() & !mask;
    (0xff00_0000..0xffff_fffe).contains(&mask) && (host == 0 || host == !mask)
}

/// An option that a client could read. What it means is known of a few only; the client ignores
/// what it does not know.
fn is_pushable(option: &str) -> bool {
    if option.trim().is_empty() || option.contains(',') {
        return false;
    }
    let Ok(lexed) = lexer::words(option.as_bytes()) else { return false };
    let words: Vec<&str> =
        lexed.words.iter().filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let is_literal = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    !lexed.has_comment
        && match words.as_slice() {
            [] | ["", ..] => false,
            // Names (`vpn_gateway`, a host) are the client's affair.
            ["route", network, rest @ ..] if is_literal(network) => match rest {
                [] => is_address(network),
                [mask, ..] => is_network(network, mask) && rest.len() <= 3,
            },
            ["route-ipv6", network, rest @ ..] => {
                is_network6(network)
                    && match rest {
                        [] => true,
                        [gateway] => is_address6(gateway),
                        [gateway, metric] => {
                            is_address6(gateway) && (*metric == "0" || is_number(metric))
                        }
                        _ => false,
                    }
            }
            ["dhcp-option", "DNS" | "DNS6", server] => server.parse::<IpAddr>().is_ok(),
            ["route" | "route-ipv6"] | ["dhcp-option", "DNS" | "DNS6", ..] => false,
            _ => true,
        }
}

fn is_address6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// A network that the server takes for a client's: `mroute_learnable_address` wants all zeros in less than eight
/// bits only, and never all ones. What stands beyond the bits does not count.
fn is_learnt6(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/').filter(|_| is_network6(text)) else {
        return false;
    };
    let (Ok(address), Ok(bits)) = (address.parse::<Ipv6Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let network = address.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    network != u128::MAX && (network != 0 || bits < 8)
}

fn is_network6(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let is_plain = bits == "0" || is_number(bits);
        is_address6(address) && is_plain && bits.parse().is_ok_and(|b: u8| b <= 128)
    })
}

#[cfg(test)]
mod tests {
    use super::{ConfigLineError as E, *};

    #[test]
    fn lines_that_openvpn_takes_are_kept_as_they_are() {
        for line in [
            "push \"route 10.1.0.0 255.255.0.0\"",
            "push 'dhcp-option DNS 10.0.0.1'",
            "push \"setenv-safe A 'a # ; b'\"",
            "push \"route 10.1.0.0 255.255.0.0 vpn_gateway 10\"",
            "push \"route 10.1.2.3\"",
            "push \"route remote_host 255.255.255.255 net_gateway\"",
            "push \"route-ipv6 fd01::/48\"",
            "push \"route-ipv6 ::/0\"",
            "push \"route-ipv6 2000::/3 fd00::1 5\"",
            "push \"route 0.0.0.0 0.0.0.0\"",
            "push \"dhcp-option DNS 10.0.0.53\"",
            "push \"dhcp-option DOMAIN corp.example\"",
            "push block-ipv6",
            "push-reset",
            "push-remove route",
            "ifconfig-push 10.8.0.5 255.255.255.0",
            "ifconfig-push 10.8.0.5 10.8.0.6 10.9.0.1",
            "ifconfig-push 10.8.0.4 255.255.255.254",
            "ifconfig-push 10.8.0.4 255.255.255.255",
            "ifconfig-ipv6-push fd00::5/64 fd00::1",
            "iroute 10.6.0.7",
            "iroute 10.5.0.0 255.255.0.0",
            "iroute-ipv6 fd01::/64",
            "iroute 0.0.0.0 0.0.0.0",
            "iroute-ipv6 ::/0",
            "iroute-ipv6 100::/8",
            "iroute-ipv6 fd01::7/64",
            "session-timeout 3600",
            "inactive 600 1000",
            "ping 10",
            "ping-restart 60",
            "max-routes-per-client 20",
            "disable",
        ] {
            assert_eq!(ConfigLine::parse(line).map(|l| l.0), Ok(line.into()));
            assert_eq!(ConfigLine::parse(&format!("  {line} ")).map(|l| l.0), Ok(line.into()));
        }
    }

    #[test]
    fn lines_that_openvpn_ignores_or_misreads_are_refused() {
        let arguments = |line| matches!(ConfigLine::parse(line), Err(E::Arguments(_)));
        for line in [
            "push",
            "push \"\"",
            "push \" \"",
            "push route 10.1.0.0 255.255.0.0",
            "push \"dhcp-option DNS 1.1.1.1,2\"",
            "push \"dhcp-option DNS resolver\"",
            "push \"dhcp-option DNS\"",
            "push \"route\"",
            "push \"route 10.1.0.300\"",
            "push \"route 10.1.0.0 255.255.0\"",
            "push \"route 10.1.0.0/16\"",
            "push \"route 10.1.0.5 255.255.0.0\"",
            "push \"route 10.1.0.0 255.0.255.0\"",
            "push \"route 10.1.0.0 255.255.0.0 vpn_gateway 10 11\"",
            "push \"route-ipv6 fd01::\"",
            "push \"a # b\"",
            "push \"a 'b\"",
            "push \"# a\"",
            "push-reset x",
            "push-remove",
            "push-remove \"\"",
            "ifconfig-push 10.8.0.5",
            "ifconfig-push host.example 255.255.255.0",
            "ifconfig-push 0.0.0.0 255.255.255.0",
            "ifconfig-push 10.8.0.5 255.255.255.0 a",
            "ifconfig-push 10.8.0.0 255.255.255.0",
            "ifconfig-push 10.8.0.255 255.255.255.0",
            "ifconfig-ipv6-push fd00::5/64",
            "ifconfig-ipv6-push fd00::5 fd00::1",
            "ifconfig-ipv6-push fd00::5/129 fd00::1",
            "iroute badaddr",
            "iroute 10.5.0.0 255.0.255.0",
            "iroute 10.5.0.0/16",
            "iroute 10.5.0.1 255.255.0.0",
            "iroute 010.5.0.0",
            "iroute 0.0.0.0",
            "iroute 0.0.0.0 255.0.0.0",
            "iroute-ipv6 fd01::/300",
            "iroute-ipv6 ::/64",
            "iroute-ipv6 ::7/64",
            "iroute-ipv6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            "push \"route-ipv6 fd01::/48 vpn_gateway\"",
            "push \"route-ipv6 fd01::/48 fd00::1 -1\"",
            "iroute-ipv6 fd01::/00",
            "iroute-ipv6 fd01::/+64",
            "session-timeout abc",
            "session-timeout 0",
            "session-timeout 2147483648",
            "session-timeout -1",
            "session-timeout +1",
            "session-timeout",
            "inactive 5 6 7",
            "max-routes-per-client 0",
            "disable x",
        ] {
            assert!(arguments(line), "{line}");
        }
    }

    #[test]
    fn other_options_the_end_and_unreadable_lines_are_refused() {
        for (line, error) in [
            ("", E::Empty),
            ("   ", E::Empty),
            ("END", E::Option),
            (" END ", E::Option),
            ("\"END\"", E::Option),
            ("end", E::Option),
            ("PUSH x", E::Option),
            ("config /etc/passwd", E::Option),
            ("plugin x", E::Option),
            ("up x", E::Option),
            ("setenv A b", E::Option),
            ("override-username root", E::Option),
            ("auth-token x", E::Option),
            ("\"\"", E::Option),
            ("EN\u{1}D", E::Control),
            ("push \"a\nEND\"", E::Control),
            ("push\ta", E::Control),
            ("push \"a\u{85}\"", E::Control),
            ("push \"a\" # b", E::Comment),
            ("# push", E::Comment),
            ("push \"a", E::Lexer(LexError::Quotation)),
            ("push a\\b", E::Lexer(LexError::Backslash)),
        ] {
            assert_eq!(ConfigLine::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn the_longest_line_is_taken_and_one_more_byte_is_not() {
        let line = |length: usize| format!("push \"{}\"", "a".repeat(length - 7));
        assert_eq!(line(MAX_CONFIG_LINE).len(), MAX_CONFIG_LINE);
        assert!(ConfigLine::parse(&line(MAX_CONFIG_LINE)).is_ok());
        assert_eq!(ConfigLine::parse(&line(MAX_CONFIG_LINE + 1)), Err(E::TooLong));
    }

    #[test]
    fn a_session_timeout_is_never_one_that_openvpn_takes_for_none() {
        for (seconds, line) in [
            (0, "session-timeout 1"),
            (60, "session-timeout 60"),
            (2_147_483_648, "session-timeout 2147483647"),
            (u32::MAX, "session-timeout 2147483647"),
        ] {
            let built = ConfigLine::session_timeout(seconds);
            assert_eq!(built.as_str(), line);
            assert_eq!(ConfigLine::parse(line), Ok(built));
        }
    }

    #[test]
    fn a_line_tells_its_option_and_the_address_that_it_gives() {
        for (line, option, address) in [
            ("ifconfig-push 10.8.0.5 255.255.255.0", "ifconfig-push", Some("10.8.0.5")),
            ("'ifconfig-push' 10.8.0.5 10.8.0.6", "ifconfig-push", Some("10.8.0.5")),
            ("ifconfig-ipv6-push fd00:0::5/64 fd00::1", "ifconfig-ipv6-push", Some("fd00::5")),
            ("push \"ifconfig-push 10.8.0.5 10.8.0.6\"", "push", None),
            ("push-reset", "push-reset", None),
            ("iroute 10.6.0.7", "iroute", None),
        ] {
            let parsed = ConfigLine::parse(line).unwrap();
            let address = address.map(|text| text.parse().unwrap());
            assert_eq!((parsed.option(), parsed.address()), (option, address), "{line}");
        }
    }

    #[test]
    fn an_error_names_what_is_possible_and_not_what_was_given() {
        let error = ConfigLine::parse("setenv SECRET 4711").unwrap_err().to_string();
        assert!(error.contains("ifconfig-push, ") && !error.contains("4711"), "{error}");
    }
}
