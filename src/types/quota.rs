//! Quotas: how much in a day, a week, a month and in total.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{parse_duration, words};

words! {
    /// The time over which a quota counts, by the calendar of the policy's time zone.
    Period {
        /// From midnight to midnight.
        Day = "day",
        /// From Monday on.
        Week = "week",
        /// From the first on.
        Month = "month",
        /// For ever.
        Total = "total",
    }
}

/// Limits of one kind; `None`: none for that period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas([Option<u64>; 4]);

/// Why a text is no list of quotas.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no quota; write it as {1}, for day, week, month or total")]
pub struct QuotaError(pub String, pub &'static str);

impl Quotas {
    /// From the limits for day, week, month and total.
    pub const fn new(limits: [Option<u64>; 4]) -> Self {
        Self(limits)
    }

    /// The limit for a period.
    pub const fn of(self, period: Period) -> Option<u64> {
        self.0[period as usize]
    }

    /// Whether there is none at all.
    pub fn is_empty(self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Every limit with its period.
    pub fn iter(self) -> impl Iterator<Item = (Period, u64)> {
        Period::ALL.iter().filter_map(move |period| Some((*period, self.of(*period)?)))
    }

    /// Reads `2h/day, 20h/month`, in seconds.
    ///
    /// # Errors
    /// [`QuotaError`] with the part that is none.
    pub fn parse_time(text: &str) -> Result<Self, QuotaError> {
        Self::parse(text, "2h/day, 20h/month", |amount| {
            parse_duration(amount).map(|time| time.as_secs())
        })
    }

    /// Reads `500MiB/day, 20GB/month`, in bytes.
    ///
    /// # Errors
    /// [`QuotaError`] with the part that is none.
    pub fn parse_data(text: &str) -> Result<Self, QuotaError> {
        Self::parse(text, "500MiB/day, 20GiB/month", parse_bytes)
    }

    fn parse(
        text: &str,
        form: &'static str,
        amount: impl Fn(&str) -> Option<u64>,
    ) -> Result<Self, QuotaError> {
        let mut quotas = Self::default();
        for part in text.split(',').map(str::trim) {
            let bad = || QuotaError(part.chars().take(64).collect(), form);
            let (number, period) = part.split_once('/').ok_or_else(bad)?;
            let period = Period::from_str(period.trim()).map_err(|_| bad())?;
            // More than the databases' numbers hold is no limit that anybody means.
            let limit = amount(number.trim()).filter(|n| *n <= u64::MAX >> 1).ok_or_else(bad)?;
            let slot = &mut quotas.0[period as usize];
            if slot.replace(limit).is_some() {
                return Err(bad());
            }
        }
        Ok(quotas)
    }
}

/// Reads `500`, `500MB`, `20GiB`: bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Quotas of bytes as a person reads them.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// Exact: in the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 8] = [
            ("TiB", 1 << 40),
            ("TB", 1_000_000_000_000),
            ("GiB", 1 << 30),
            ("GB", 1_000_000_000),
            ("MiB", 1 << 20),
            ("MB", 1_000_000),
            ("KiB", 1 << 10),
            ("kB", 1_000),
        ];
        let unit = UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_for_each_period() {
        let time = Quotas::parse_time("2h/day, 20h/month").unwrap();
        assert_eq!(time, Quotas::new([Some(7_200), None, Some(72_000), None]));
        let data = Quotas::parse_data("1GiB/week,5GB/total, 0/day").unwrap();
        let all = [Some(0), Some(1 << 30), None, Some(5_000_000_000)];
        assert_eq!(data, Quotas::new(all));
        assert_eq!(data.iter().count(), 3);
        assert!(!data.is_empty() && Quotas::default().is_empty());
    }

    #[test]
    fn what_is_no_quota_is_refused() {
        for text in ["", "2h", "2h/year", "/day", "x/day", "2h/day,3h/day", "2h/day,"] {
            assert!(Quotas::parse_time(text).is_err(), "{text}");
        }
        for text in ["5XB/day", "20000000TiB/day", "9223372036854775808/day", "-1/day"] {
            assert!(Quotas::parse_data(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_shown_as_they_are_read() {
        for text in ["5GiB", "5GB", "1500MB", "1B", "0B", "1536MiB", "3TiB", "7kB"] {
            let bytes = parse_bytes(text).unwrap();
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
