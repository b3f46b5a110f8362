//! Device identities: MAC addresses in any usual notation, opaque ids of mobile clients, and
//! fingerprints of certificates.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::Fingerprint;

/// A unicast MAC address. Made only from text or bytes that can belong to one device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// Why a text is not a usable MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MacError {
    /// Not twelve hexadecimal digits in one of the usual notations.
    #[error("not a MAC address")]
    Malformed,
    /// A list with an address in it: which one is meant, nobody knows.
    #[error("several addresses in one value")]
    Several,
    /// `00:00:00:00:00:00`.
    #[error("the all-zero address belongs to no device")]
    Zero,
    /// `ff:ff:ff:ff:ff:ff`.
    #[error("the broadcast address belongs to no device")]
    Broadcast,
    /// A certificate's fingerprint, which a client cannot prove by sending it.
    #[error("the fingerprint of a certificate is not to be sent as text")]
    Fingerprint,
    /// The group bit is set.
    #[error("a multicast address belongs to no device")]
    Multicast,
}

impl MacAddr {
    /// From six octets.
    ///
    /// # Errors
    /// [`MacError`] for the all-zero, broadcast and multicast addresses.
    pub fn from_octets(octets: [u8; 6]) -> Result<Self, MacError> {
        match octets {
            [0, 0, 0, 0, 0, 0] => Err(MacError::Zero),
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Err(MacError::Broadcast),
            [first, ..] if first & 1 == 1 => Err(MacError::Multicast),
            octets => Ok(Self(octets)),
        }
    }

    /// Whether the address was made up locally, as randomising clients do, instead of being
    /// assigned by the maker of the interface.
    pub const fn is_locally_administered(self) -> bool {
        self.0[0] & 2 == 2
    }
}

/// Lower-case, colons: the one form that is stored and compared.
impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (digits, octet) in text.chunks_mut(3).zip(self.0) {
            digits[0] = DIGITS[usize::from(octet >> 4)];
            digits[1] = DIGITS[usize::from(octet & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `aa:bb:cc:dd:ee:ff`, `AA-BB-…`, `aabb.ccdd.eeff`, `aabbcc-ddeeff`, `aabbccddeeff`, and
/// `a:b:cc:…` without any leading zero, as `arp` of macOS and Solaris prints it.
impl FromStr for MacAddr {
    type Err = MacError;

    fn from_str(s: &str) -> Result<Self, MacError> {
        if let Some(octets) = without_leading_zeros(s) {
            return Self::from_octets(octets);
        }
        let bytes = s.as_bytes();
        // One separator throughout, at equal distances.
        let (separator, group) = match bytes.len() {
            17 if matches!(bytes[2], b':' | b'-' | b'.') => (Some(bytes[2]), 2),
            14 if matches!(bytes[4], b'.' | b':' | b'-') => (Some(bytes[4]), 4),
            13 if matches!(bytes[6], b':' | b'-' | b'.') => (Some(bytes[6]), 6),
            12 => (None, 12),
            _ => return Err(MacError::Malformed),
        };
        let mut octets = [0u8; 6];
        let mut digits = 0usize;
        for (position, &byte) in bytes.iter().enumerate() {
            if position % (group + 1) == group {
                if Some(byte) != separator {
                    return Err(MacError::Malformed);
                }
                continue;
            }
            let value = (byte as char).to_digit(16).ok_or(MacError::Malformed)? as u8;
            octets[digits / 2] = octets[digits / 2] << 4 | value;
            digits += 1;
        }
        Self::from_octets(octets)
    }
}

/// Six groups of one or two digits. Where one group has a leading zero, another that lacks it has
/// lost a digit: nobody knows on which side.
fn without_leading_zeros(s: &str) -> Option<[u8; 6]> {
    let separator = if s.contains(':') { ':' } else { '-' };
    let mut octets = [0u8; 6];
    let mut groups = s.split(separator);
    for octet in &mut octets {
        let group = groups.next()?;
        let is_plain = matches!(group.as_bytes(), [_] | [b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F', _])
            && group.bytes().all(|b| b.is_ascii_hexdigit());
        *octet = is_plain.then(|| u8::from_str_radix(group, 16).ok())??;
    }
    groups.next().is_none().then_some(octets)
}

/// What kind of text a device identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A MAC address, stored lower-case with colons.
    Mac,
    /// Any other text: the UUID or hash that mobile clients send.
    Opaque,
    /// The fingerprint of a certificate, which OpenVPN has verified.
    Fingerprint,
}

impl DeviceKind {
    /// The name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Opaque => "opaque",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// The identity of a device, normalised for comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceId {
    /// A MAC address.
    Mac(MacAddr),
    /// Opaque text as it came: visible ASCII, long enough not to be a spoilt MAC address.
    Opaque(Box<str>),
    /// The fingerprint of a certificate.
    Fingerprint(Box<Fingerprint>),
}

impl DeviceId {
    /// The bound on an opaque id, in bytes: OpenVPN cuts a peer-info line there.
    pub const MAX_LEN: usize = 255;
    /// An opaque id is at least this long: Android's SSAID has 16 digits, a UUID 36 characters.
    pub const MIN_OPAQUE_LEN: usize = 16;

    /// Reads a device id as an operator gives it, or a database.
    ///
    /// # Errors
    /// [`MacError`] for an unusable address, and [`MacError::Malformed`] for text that is
    /// neither a MAC address nor long enough to be a UUID or a hash.
    pub fn parse(text: &str) -> Result<Self, MacError> {
        if let Ok(fingerprint) = text.parse() {
            return Ok(Self::Fingerprint(Box::new(fingerprint)));
        }
        match text.parse() {
            Ok(mac) => Ok(Self::Mac(mac)),
            // What looks like a fingerprint has to be one.
            Err(MacError::Malformed) if Fingerprint::is_meant(text) => Err(MacError::Malformed),
            Err(MacError::Malformed) if is_list_with_address(text) => Err(MacError::Several),
            Err(MacError::Malformed) if Self::is_opaque(text) => Ok(Self::Opaque(text.into())),
            Err(error) => Err(error),
        }
    }

    /// Short text with separators is taken for a spoilt MAC address, not for an id.
    fn is_opaque(text: &str) -> bool {
        let separated = text.bytes().any(|b| matches!(b, b':' | b'.' | b'-' | b'_'));
        let shortest = if separated { 32 } else { Self::MIN_OPAQUE_LEN };
        (shortest..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
    }

    /// Which kind it is.
    pub const fn kind(&self) -> DeviceKind {
        match self {
            Self::Mac(_) => DeviceKind::Mac,
            Self::Opaque(_) => DeviceKind::Opaque,
            Self::Fingerprint(_) => DeviceKind::Fingerprint,
        }
    }
}

/// Whether an address, usable or not, is among several values.
fn is_list_with_address(text: &str) -> bool {
    const BETWEEN: [char; 5] = [',', ';', '|', '/', '+'];
    text.contains(BETWEEN)
        && text.split(BETWEEN).any(|part| {
            !matches!(part.parse::<MacAddr>(), Err(MacError::Malformed | MacError::Several))
        })
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Opaque(text) => f.write_str(text),
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_notation_is_one_address() {
        for text in [
            "02:1a:2b:3c:4d:5e",
            "02-1A-2B-3C-4D-5E",
            "02.1a.2b.3c.4d.5e",
            "021a.2b3c.4d5e",
            "021A-2B3C-4D5E",
            "021a2b-3c4d5e",
            "021a2b3c4d5e",
        ] {
            assert_eq!(
                text.parse::<MacAddr>().map(|m| m.to_string()),
                Ok("02:1a:2b:3c:4d:5e".into()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "02:1a:2b:3c:4d:5",
            "02:1a:2b:3c:4d:5g",
            "02_1a_2b_3c_4d_5e",
            "02:1a-2b:3c:4d:5e",
            "02:1a:2b:3c:4d:5e:",
            "021a2b3c4d5",
            "0x1a2b3c4d5e",
            "02:1a:2b:3c:4d:5é",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacError::Malformed), "{text}");
        }
    }

    #[test]
    fn leading_zeros_may_be_missing_from_all_groups_but_not_from_some() {
        for text in ["2:1a:2b:3c:4d:5e", "2-1A-2B-3C-4D-5E"] {
            assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), "02:1a:2b:3c:4d:5e");
        }
        assert_eq!("a:0:0:0:0:1".parse::<MacAddr>().unwrap().to_string(), "0a:00:00:00:00:01");
        assert_eq!("0:0:0:0:0:0".parse::<MacAddr>(), Err(MacError::Zero));
        for text in [
            "2:1a:2b:3c:4d:05",
            "2:1a:2b:3c:4d",
            "2:1a:2b:3c:4d:5e:6f",
            "2:1a:2b:3c:4d:",
            "2:1a-2b:3c:4d:5e",
            "2.1a.2b.3c.4d.5e",
            "2:1a:2b:3c:4d:+5",
            "2:1a:2b:3c:4d:5e1",
            "2:1a:2b:3c:4d:é",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacError::Malformed), "{text}");
        }
    }

    #[test]
    fn several_addresses_are_no_opaque_id() {
        for text in [
            "02:1a:2b:3c:4d:5e,02:1a:2b:3c:4d:5f",
            "021a2b3c4d5e;021a2b3c4d5f",
            "02:1a:2b:3c:4d:5e|00:00:00:00:00:00",
            "ff-ff-ff-ff-ff-ff/something-else-that-is-long",
        ] {
            assert_eq!(DeviceId::parse(text), Err(MacError::Several), "{text}");
        }
        let id = "samsung,SM-G991B,9774d56d682e549c";
        assert_eq!(DeviceId::parse(id).map(|d| d.kind()), Ok(DeviceKind::Opaque));
    }

    #[test]
    fn addresses_of_no_device_are_refused() {
        assert_eq!("00:00:00:00:00:00".parse::<MacAddr>(), Err(MacError::Zero));
        assert_eq!("FF-FF-FF-FF-FF-FF".parse::<MacAddr>(), Err(MacError::Broadcast));
        assert_eq!("01:00:5e:00:00:01".parse::<MacAddr>(), Err(MacError::Multicast));
    }

    #[test]
    fn long_ids_of_mobile_clients_are_opaque_and_short_rubbish_is_not() {
        let uuid = "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55";
        assert_eq!(DeviceId::parse(uuid).map(|d| d.to_string()), Ok(uuid.into()));
        assert_eq!(DeviceId::parse(&"f".repeat(64)).map(|d| d.kind()), Ok(DeviceKind::Opaque));
        assert_eq!(DeviceId::parse("9774d56d682e549c").map(|d| d.kind()), Ok(DeviceKind::Opaque));
        assert_eq!(DeviceId::parse("02:1a:2b:3c:4d:5e:6f"), Err(MacError::Malformed));
        assert_eq!(DeviceId::parse("02:1a:2b:3c:4d:5"), Err(MacError::Malformed));
        assert_eq!(DeviceId::parse("02_1a_2b_3c_4d_5e"), Err(MacError::Malformed));
        assert_eq!(DeviceId::parse(&"f".repeat(256)), Err(MacError::Malformed));
        assert_eq!(DeviceId::parse("with a space in the middle"), Err(MacError::Malformed));
    }
}
