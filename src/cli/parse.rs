//! Values of arguments: each parser says what is permitted where a text is not.

use std::{str::FromStr, time::Duration};

use crate::types::{
    DeviceId, IdError, MacError, ServerName, Timestamp, TimestampError, Username, parse_duration,
};

use super::exit::CliError;

/// A value, or `none` to remove what is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrNone<T> {
    /// `none`.
    None,
    /// A value.
    Value(T),
}

impl<T> OrNone<T> {
    /// `None` for `none`.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Value) }
    }
}

/// A number of seconds, as such or as a duration.
pub fn seconds(text: &str) -> Result<OrNone<u32>, String> {
    if text == "none" {
        return Ok(OrNone::None);
    }
    let duration = parse_duration(text).ok_or("no number of seconds; write it as 28800 or 8h")?;
    let seconds = u32::try_from(duration.as_secs());
    seconds.map(OrNone::Value).map_err(|_| "more seconds than there can be".into())
}

/// The name of a policy; has the same form as that of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyName(pub String);

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ServerName>() {
            // `user set --policy none` would not reach a policy of that name.
            Ok(_) if text == "none" => Err("`none` means that there is no policy".into()),
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(format!("{error}; a policy's name is 1 to 64 of A-Z a-z 0-9 . _ -")),
        }
    }
}

/// The name of a user that is to be. Spaces at its ends nobody sees, and MySQL ignores those behind it.
pub fn new_name(text: &str) -> Result<Username, String> {
    if text != text.trim() {
        return Err("begins or ends with a space; take that away".into());
    }
    text.parse().map_err(|error: IdError| error.to_string())
}

/// A device as an operator names it: blanks may stand between the octets.
pub fn device(text: &str) -> Result<DeviceId, String> {
    let parsed = match DeviceId::parse(text) {
        Err(MacError::Malformed) if text.contains(' ') && !text.contains(':') => {
            text.replace(' ', ":").parse().map(DeviceId::Mac)
        }
        parsed => parsed,
    };
    parsed.map_err(|error| {
        format!(
            "{error}; a device is a MAC address as 02:1a:2b:3c:4d:5e, 02-1A-2B-3C-4D-5E, \
             021a.2b3c.4d5e, 021a2b-3c4d5e, 021a2b3c4d5e or 2:1a:2b:3c:4d:5e, or the id that a mobile client \
             sends: 16 to 255 visible ASCII characters, with any of : . - _ at least 32"
        )
    })
}

/// A moment, absolute or from `now` on.
pub fn moment(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    Timestamp::parse(text, now).map_err(|error| CliError::usage(format!("{flag}: {error}")))
}

/// A moment that is usually in the past: also `-24h`.
pub fn past_moment(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    match text.strip_prefix('-').and_then(parse_duration) {
        Some(ago) => Ok(now.saturating_sub(ago)),
        None => Timestamp::parse(text, now).map_err(|error| {
            let TimestampError(shown) = &error;
            CliError::usage(format!(
                "{flag}: `{shown}` is not a time: use 2026-12-31, 2026-12-31 18:00 (UTC), \
                 2026-12-31T18:00:00+01:00, or from now -24h or +2h"
            ))
        }),
    }
}

/// A duration longer than nothing; `+2h` is `2h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text.strip_prefix('+').unwrap_or(text))
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a duration: use 90s, 15m, 8h, 2d or a sum as 1h30m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_removes_a_value() {
        assert_eq!("none".parse(), Ok(OrNone::<u32>::None));
        assert_eq!("7".parse(), Ok(OrNone::Value(7u32)));
        assert!("None".parse::<OrNone<u32>>().is_err());
        assert!("none".parse::<PolicyName>().is_err());
        assert!("a b".parse::<PolicyName>().is_err());
    }

    #[test]
    fn a_bad_device_is_told_the_notations() {
        let error = device("02:1a").unwrap_err();
        assert!(error.contains("02-1A-2B-3C-4D-5E") && error.contains("021a.2b3c.4d5e"), "{error}");
        for text in ["021A.2B3C.4D5E", "02 1a 2b 3c 4d 5e", "2 1A 2b 3c 4d 5e"] {
            assert_eq!(device(text).unwrap().to_string(), "02:1a:2b:3c:4d:5e");
        }
        for text in ["02 1a 2b 3c 4d", "02 1a:2b:3c:4d:5e", "021a2b3c4d5e 021a2b3c4d5f"] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_longer_than_nothing() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(duration("+1h"), Ok(Duration::from_secs(3_600)));
        assert!(duration("0").is_err() && duration("soon").is_err());
    }

    #[test]
    fn the_past_is_a_duration_with_a_minus() {
        let now = Timestamp::from_secs(10_000);
        assert_eq!(past_moment("--since", "-1h", now), Ok(Timestamp::from_secs(6_400)));
        assert_eq!(past_moment("--since", "+1h", now), Ok(Timestamp::from_secs(13_600)));
        let error = past_moment("--since", "yesterday", now).unwrap_err().to_string();
        assert!(error.starts_with("error: --since: `yesterday` is not a time"), "{error}");
        assert!(error.contains("-24h"), "{error}");
    }
}
