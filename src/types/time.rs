//! Time as values: the cores never ask a clock, they are told.

use std::{
    fmt,
    num::NonZeroU64,
    ops::{Add, Sub},
    str::FromStr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};
use thiserror::Error;

/// A point in UTC, to the millisecond. Never zero inside, so that an `Option` of it is no larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

/// Bytes of `2026-11-23 12:00:00.000`.
const CALENDAR: usize = 23;

/// What stands inside for 1970: numbers are in the order of time.
const EPOCH: u64 = 1 << 63;

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a time: use 2026-12-31, 2026-12-31 18:00 (UTC), 2026-12-31T18:00:00+01:00, or a duration from now as +2h"
)]
pub struct TimestampError(pub String);

impl Timestamp {
    /// The last instant that both databases can hold: the end of the year 9999.
    pub const MAX: Self = Self::from_millis(253_402_300_799_999);

    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroU64::new(millis.cast_unsigned() ^ EPOCH) {
            Some(inside) => Self(inside),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// From whole seconds since 1970-01-01T00:00:00Z; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        (self.0.get() ^ EPOCH).cast_signed()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.as_millis().div_euclid(1000)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// `self + duration`, at most [`Self::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_add(millis)).min(Self::MAX)
    }

    /// `self - duration`.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(millis))
    }

    /// As a calendar time in UTC.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.as_millis()).unwrap_or(DateTime::<Utc>::UNIX_EPOCH)
    }

    /// From a calendar time that is known to be UTC, as databases store it.
    pub fn from_naive_utc(naive: NaiveDateTime) -> Self {
        Self::from_millis(naive.and_utc().timestamp_millis())
    }

    /// `2026-11-23 12:00:00.000`, with that character between date and time; `None` where the year has not four digits.
    /// What chrono formats in general takes several times as long, and a login is told of with a dozen times.
    fn calendar(self, between: u8) -> Option<[u8; CALENDAR]> {
        let at = self.to_datetime();
        let year = u32::try_from(at.year()).ok().filter(|year| *year < 10_000)?;
        let mut text = *b"0000-00-00 00:00:00.000";
        text[10] = between;
        let parts = [
            (0..4, year),
            (5..7, at.month()),
            (8..10, at.day()),
            (11..13, at.hour()),
            (14..16, at.minute()),
            (17..19, at.second()),
            (20..23, at.timestamp_subsec_millis()),
        ];
        for (place, mut number) in parts {
            for digit in text[place].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        }
        Some(text)
    }

    /// `2026-11-23 12:00:00.000`, as it stands in an SQLite file.
    pub fn to_calendar(self) -> String {
        match self.calendar(b' ').map(|text| String::from_utf8(text.into())) {
            Some(Ok(text)) => text,
            // RFC 3339 differs in two places.
            Some(Err(_)) | None => self.to_string().replacen('T', " ", 1).replace('Z', ""),
        }
    }

    /// Reads exactly that; `None` for anything else.
    pub fn from_calendar(text: &str) -> Option<Self> {
        let text: &[u8; CALENDAR] = text.as_bytes().try_into().ok()?;
        let marks = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b'.')];
        if marks.iter().any(|(at, mark)| text[*at] != *mark) {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_u32, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
            })
        };
        let year = i32::try_from(number(&text[..4])?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, number(&text[5..7])?, number(&text[8..10])?)?;
        let (hour, minute) = (number(&text[11..13])?, number(&text[14..16])?);
        let (second, millis) = (number(&text[17..19])?, number(&text[20..])?);
        date.and_hms_milli_opt(hour, minute, second, millis).map(Self::from_naive_utc)
    }

    /// Parses an absolute time (`2026-12-31`, `2026-12-31 18:00`, RFC 3339) or one relative to `now` (`+90m`). What
    /// names no zone is UTC, as everything that is shown.
    ///
    /// # Errors
    /// [`TimestampError`] with the text, when it is neither.
    pub fn parse(text: &str, now: Self) -> Result<Self, TimestampError> {
        let bad = || TimestampError(text.chars().take(64).collect());
        if let Some(rest) = text.strip_prefix('+') {
            return Ok(now.saturating_add(parse_duration(rest).ok_or_else(bad)?));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::from_naive_utc(date.and_time(chrono::NaiveTime::MIN)).min(Self::MAX));
        }
        // chrono alone lets blanks anywhere, none between date and time, and longer years through.
        let is_whole = |(at, byte): (usize, u8)| match at {
            10 => matches!(byte, b' ' | b'T'),
            _ => byte.is_ascii_graphic(),
        };
        let is_calendar = matches!(text.len(), 16 | 19) && text.bytes().enumerate().all(is_whole);
        let utc = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
        let mut utc = utc.iter().filter_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        if let Some(at) = utc.next().filter(|_| is_calendar) {
            return Ok(Self::from_naive_utc(at));
        }
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| bad())?;
        Ok(Self::from_millis(at.timestamp_millis()).min(Self::MAX))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(s: &str) -> Result<Self, TimestampError> {
        let at = DateTime::parse_from_rfc3339(s).map_err(|_| TimestampError(s.into()))?;
        Ok(Self::from_millis(at.timestamp_millis()))
    }
}

/// Parses `90`, `90s`, `15m`, `8h`, `2d`, `1w` and sums of them as `1h30m`; `None` when it is none.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let unit = match rest.bytes().next() {
            None => 1,
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            Some(b'w') => 604_800,
            Some(_) => return None,
        };
        rest = rest.get(1..).unwrap_or("");
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    Some(Duration::from_secs(total))
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-23T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calendar(b'T').as_ref().map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => {
                f.write_str(text)?;
                f.write_str("Z")
            }
            Some(Err(_)) | None => {
                f.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::Millis, true))
            }
        }
    }
}

/// A point on the monotonic clock: time since the process's clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub Duration);

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.0.saturating_sub(rhs.0)
    }
}

/// A [`Mono`] in eight bytes, also where there may be none: whole nanoseconds, of which there is room for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

impl From<Mono> for Moment {
    fn from(at: Mono) -> Self {
        let nanos = u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Moment> for Mono {
    fn from(at: Moment) -> Self {
        Self(Duration::from_nanos(at.0.get()))
    }
}

/// The present on both clocks. Timers run on `mono`, what is stored is `utc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; never steps.
    pub mono: Mono,
    /// Wall clock; may step.
    pub utc: Timestamp,
}

/// The one place that reads the machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    #[expect(clippy::new_without_default, reason = "reading a clock is not a default")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The present.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Now {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono(self.start.elapsed()),
            utc: Timestamp::from_millis(i64::try_from(utc.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// The instant of the machine's monotonic clock that `mono` names, for arming a timer.
    pub fn instant(&self, mono: Mono) -> Instant {
        self.start + mono.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_rfc_3339() {
        let at = Timestamp::from_millis(1_795_435_003_007);
        assert_eq!(at.to_string(), "2026-11-23T11:56:43.007Z");
        assert_eq!(at.to_string().parse(), Ok(at));
    }

    #[test]
    fn what_is_written_digit_by_digit_is_what_chrono_writes_and_is_read_back() {
        let year = 366 * 86_400_000_i64;
        let moments = (-2_100..8_300).map(|n| n * year + n * 7_919_031);
        let ends =
            [-62_167_219_200_001, -62_167_219_200_000, 253_402_300_799_999, 253_402_300_800_000];
        for at in moments.chain(ends).map(Timestamp::from_millis) {
            let by_chrono = at.to_datetime().to_rfc3339_opts(SecondsFormat::Millis, true);
            assert_eq!(at.to_string(), by_chrono);
            let text = at.to_calendar();
            assert_eq!(text, at.to_datetime().format("%Y-%m-%d %H:%M:%S%.3f").to_string());
            let has_four_digits = text.len() == CALENDAR && !text.starts_with(['-', '+']);
            assert_eq!(Timestamp::from_calendar(&text), has_four_digits.then_some(at), "{text}");
        }
        for text in [
            "2026-11-23T12:00:00.000",
            "2026-11-23 12:00:00",
            "2026-11-23 12:00:00.0000",
            "2026-11-31 12:00:00.000",
            "2026-11-23 24:00:00.000",
            "2026-11-23 12:60:00.000",
            "2026-11-23 12:00:60.000",
            "+026-11-23 12:00:00.000",
            "2026-11-23 12:00: 0.000",
            "",
        ] {
            assert_eq!(Timestamp::from_calendar(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_in_order_and_an_option_is_no_larger() {
        let millis = [i64::MIN + 1, -1_001, -1, 0, 1, 253_402_300_799_999, i64::MAX];
        let times = millis.map(Timestamp::from_millis);
        assert_eq!(times.map(Timestamp::as_millis), millis);
        assert!(times.is_sorted());
        assert_eq!(Timestamp::default(), Timestamp::from_secs(0));
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
        assert_eq!(times[3].saturating_since(times[1]), Duration::from_millis(1_001));
        assert_eq!(times[1].saturating_since(times[3]), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(i64::MIN), times[0], "nothing is earlier");
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<u64>());
    }

    #[test]
    fn reads_dates_and_times_relative_to_now() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!(Timestamp::parse("1970-01-02", now), Ok(Timestamp::from_secs(86_400)));
        assert_eq!(Timestamp::parse("+1h30m", now), Ok(Timestamp::from_secs(6_400)));
        for text in [
            "2026-12-31 18:00",
            "2026-12-31T18:00",
            "2026-12-31 18:00:00",
            "2026-12-31T19:00:00+01:00",
        ] {
            assert_eq!(
                Timestamp::parse(text, now).unwrap().to_string(),
                "2026-12-31T18:00:00.000Z"
            );
        }
        for text in [
            "2026-12-31 18",
            "2026-12-31 25:00",
            "18:00",
            "2026-12-31 18:00 CET",
            "12026-12-31 18:00",
            "2026-12-3118:00",
            " 2026-12-31 18:00",
        ] {
            assert!(Timestamp::parse(text, now).is_err(), "{text}");
        }
        assert!(Timestamp::parse("tomorrow", now).is_err());
        assert!(Timestamp::parse("+", now).is_err());
        assert!(Timestamp::parse("+99999999999999999d", now).is_err());
        assert_eq!(Timestamp::parse("+999999999d", now), Ok(Timestamp::MAX));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1d2h"), Some(Duration::from_secs(93_600)));
        for bad in ["", "h", "5x", "5 m", "-1"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
