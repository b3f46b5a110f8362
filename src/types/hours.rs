//! Hours of the week in which something is allowed.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{Datelike, Days, NaiveDate, NaiveTime, TimeDelta};
use thiserror::Error;

use super::{Timestamp, Zone};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u16 = 24 * 60;

/// One range of hours, on one weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourRange {
    /// 1 is Monday, 7 is Sunday.
    weekday: u8,
    /// Minutes after midnight.
    opens: u16,
    /// Minutes after midnight, up to 1,440; not later than `opens`: on the next day.
    closes: u16,
}

/// Allowed hours of the week; without any range, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours(Vec<HourRange>);

/// What is allowed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is allowed, and for at least a week.
    Always,
    /// It is allowed until then.
    Until(Timestamp),
    /// It is not.
    Closed,
}

/// Why a text is no range of hours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HoursError {
    /// It does not have the form.
    #[error("`{0}` are no hours; write them as mon-fri 08:00-18:00, sat 22:00-02:00")]
    Form(String),
    /// It opens and closes at the same time.
    #[error("`{0}` opens when it closes; a whole day is 00:00-24:00")]
    Empty(String),
    /// There are too many.
    #[error("at most {} ranges of hours can be had", Hours::MOST)]
    TooMany,
}

impl HourRange {
    /// A range: the weekday (1 is Monday), and the times as `08:00` and `24:00`.
    ///
    /// # Errors
    /// [`HoursError`] with the text.
    pub fn new(weekday: u8, opens: &str, closes: &str) -> Result<Self, HoursError> {
        let text = || format!("{weekday} {opens}-{closes}").chars().take(64).collect();
        let (from, to) = (minutes(opens), minutes(closes));
        match (weekday, from, to) {
            (1..=7, Some(opens @ 0..DAY), Some(closes)) if opens != closes => {
                Ok(Self { weekday, opens, closes })
            }
            (1..=7, Some(0..DAY), Some(_)) => Err(HoursError::Empty(text())),
            _ => Err(HoursError::Form(text())),
        }
    }

    /// 1 is Monday.
    pub const fn weekday(self) -> u8 {
        self.weekday
    }

    /// As `08:00`.
    pub fn opens(self) -> String {
        clock(self.opens)
    }

    /// As `24:00`.
    pub fn closes(self) -> String {
        clock(self.closes)
    }

    /// When it opens and closes, if it begins on this date. What a clock that is put back shows twice is open
    /// once: an opening in that hour is its second time, a closing its first.
    fn on(self, date: NaiveDate, zone: Zone) -> Option<Span> {
        if date.weekday().number_from_monday() != u32::from(self.weekday) {
            return None;
        }
        let local = |date: NaiveDate, minutes: u16| {
            date.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(minutes.into()))
        };
        let last = match self.closes <= self.opens {
            true => date.checked_add_days(Days::new(1))?,
            false => date,
        };
        let (opens, closes) = (local(date, self.opens)?, zone.instant(local(last, self.closes)?));
        let (touches, again) = (zone.instant(opens), zone.instant_again(opens));
        // Both in that hour: the first time of both.
        let opens = if again < closes { again } else { touches };
        (touches < closes).then_some(Span { touches, opens, closes })
    }
}

/// A range on one date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    /// From here on it goes on with one that closes then.
    touches: Timestamp,
    opens: Timestamp,
    closes: Timestamp,
}

impl Hours {
    /// Most ranges of one policy.
    pub const MOST: usize = 64;

    /// From ranges in any order.
    ///
    /// # Errors
    /// [`HoursError::TooMany`].
    pub fn new(mut ranges: Vec<HourRange>) -> Result<Self, HoursError> {
        ranges.sort_unstable();
        ranges.dedup();
        if ranges.len() > Self::MOST {
            return Err(HoursError::TooMany);
        }
        Ok(Self(ranges))
    }

    /// The ranges, by weekday and time.
    pub fn ranges(&self) -> &[HourRange] {
        &self.0
    }

    /// What is allowed at a moment, by the clocks of a zone. Ranges that touch are one.
    pub fn at(&self, now: Timestamp, zone: Zone) -> Opening {
        if self.0.is_empty() {
            return Opening::Always;
        }
        let today = zone.local(now).date();
        let mut spans: Vec<_> = (-2..=8)
            .filter_map(|day| today.checked_add_signed(TimeDelta::days(day)))
            .flat_map(|date| self.0.iter().filter_map(move |range| range.on(date, zone)))
            .collect();
        spans.sort_unstable();
        let mut whole: Vec<Span> = Vec::new();
        for span in spans {
            match whole.last_mut().filter(|last| span.touches <= last.closes) {
                Some(last) => last.closes = last.closes.max(span.closes),
                None => whole.push(span),
            }
        }
        let open = whole.iter().find(|span| span.opens <= now && now < span.closes);
        let until = open.map(|span| span.closes);
        match until {
            None => Opening::Closed,
            Some(at) if at.saturating_since(now) >= Duration::from_secs(7 * 86_400) => {
                Opening::Always
            }
            Some(at) => Opening::Until(at),
        }
    }
}

impl FromStr for Hours {
    type Err = HoursError;

    /// `mon-fri 08:00-18:00, sat 22:00-02:00`; also `daily 06:00-22:00`.
    fn from_str(s: &str) -> Result<Self, HoursError> {
        let mut ranges = Vec::new();
        for part in s.split([',', ';']).map(str::trim) {
            let bad = || HoursError::Form(part.chars().take(64).collect());
            let (days, times) = part.split_once(char::is_whitespace).ok_or_else(bad)?;
            let (opens, closes) = times.trim().split_once('-').ok_or_else(bad)?;
            let (first, last) = match days.split_once('-') {
                _ if days.eq_ignore_ascii_case("daily") => (1, 7),
                Some((first, last)) => {
                    (weekday(first).ok_or_else(bad)?, weekday(last).ok_or_else(bad)?)
                }
                None => weekday(days).map(|day| (day, day)).ok_or_else(bad)?,
            };
            let mut day = first;
            loop {
                ranges.push(HourRange::new(day, opens.trim(), closes.trim()).map_err(|error| {
                    match error {
                        HoursError::Empty(_) => HoursError::Empty(part.chars().take(64).collect()),
                        HoursError::Form(_) | HoursError::TooMany => bad(),
                    }
                })?);
                if ranges.len() > Self::MOST {
                    return Err(HoursError::TooMany);
                }
                if day == last {
                    break;
                }
                day = day % 7 + 1;
            }
        }
        Self::new(ranges)
    }
}

impl fmt::Display for Hours {
    /// Days in a row with the same hours are put together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.clone();
        let mut is_first = true;
        while let Some(range) = rest.first().copied() {
            let mut last = range.weekday;
            rest.remove(0);
            while let Some(next) =
                rest.iter().position(|r| *r == HourRange { weekday: last + 1, ..range })
            {
                rest.remove(next);
                last += 1;
            }
            let name = |day: u8| DAYS.get(usize::from(day) - 1).copied().unwrap_or("?");
            let comma = if is_first { "" } else { ", " };
            is_first = false;
            write!(f, "{comma}{}", name(range.weekday))?;
            if last > range.weekday {
                write!(f, "-{}", name(last))?;
            }
            write!(f, " {}-{}", clock(range.opens), clock(range.closes))?;
        }
        Ok(())
    }
}

fn weekday(name: &str) -> Option<u8> {
    (1..).zip(DAYS).find(|(_, day)| day.eq_ignore_ascii_case(name)).map(|(number, _)| number)
}

/// `08:00` to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let [a, b, b':', c, d] = *text.as_bytes() else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let (hours, minutes) = (digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?);
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: &str, zone: &str, now: &str) -> Opening {
        let hours: Hours = hours.parse().unwrap();
        hours.at(now.parse().unwrap(), zone.parse().unwrap())
    }

    fn until(text: &str) -> Opening {
        Opening::Until(text.parse().unwrap())
    }

    #[test]
    fn hours_hold_by_the_clock_of_the_zone() {
        let office = "mon-fri 08:00-18:00";
        let berlin = "Europe/Berlin";
        // 2026-11-24 is a Tuesday.
        assert_eq!(at(office, "UTC", "2026-11-24T07:59:59.999Z"), Opening::Closed);
        assert_eq!(at(office, "UTC", "2026-11-24T08:00:00Z"), until("2026-11-24T18:00:00Z"));
        assert_eq!(at(office, "UTC", "2026-11-24T18:00:00Z"), Opening::Closed);
        assert_eq!(at(office, "UTC", "2026-11-28T12:00:00Z"), Opening::Closed);
        assert_eq!(at(office, berlin, "2026-11-24T07:00:00Z"), until("2026-11-24T17:00:00Z"));
        assert_eq!(at(office, berlin, "2026-07-21T06:00:00Z"), until("2026-07-21T16:00:00Z"));
        // Monday in Auckland, still Sunday in UTC.
        assert_eq!(
            at(office, "Pacific/Auckland", "2026-11-22T20:00:00Z"),
            until("2026-11-23T05:00:00Z")
        );
    }

    #[test]
    fn ranges_go_across_midnight_and_those_that_touch_are_one() {
        let night = "sat 22:00-02:00";
        assert_eq!(at(night, "UTC", "2026-11-28T23:00:00Z"), until("2026-11-29T02:00:00Z"));
        assert_eq!(at(night, "UTC", "2026-11-29T01:59:00Z"), until("2026-11-29T02:00:00Z"));
        assert_eq!(at(night, "UTC", "2026-11-29T02:00:00Z"), Opening::Closed);
        assert_eq!(at(night, "UTC", "2026-11-28T01:00:00Z"), Opening::Closed);
        let touching = "sat 20:00-24:00, sun 00:00-03:00, sun 02:00-05:00";
        assert_eq!(at(touching, "UTC", "2026-11-28T21:00:00Z"), until("2026-11-29T05:00:00Z"));
        let sunday = "sun 23:00-01:00";
        assert_eq!(at(sunday, "UTC", "2026-11-30T00:30:00Z"), until("2026-11-30T01:00:00Z"));
        assert_eq!(at("daily 00:00-24:00", "UTC", "2026-11-30T00:30:00Z"), Opening::Always);
        assert_eq!(Hours::default().at(Timestamp::from_secs(0), Zone::default()), Opening::Always);
    }

    #[test]
    fn a_change_of_the_clock_moves_what_the_clock_says() {
        // Put back at 03:00 to 02:00 on 2026-10-25 at 01:00 UTC: 02:30 comes first at 00:30 UTC.
        let (berlin, night) = ("Europe/Berlin", "sun 01:00-02:30");
        assert_eq!(at(night, berlin, "2026-10-24T23:00:00Z"), until("2026-10-25T00:30:00Z"));
        assert_eq!(at(night, berlin, "2026-10-25T00:45:00Z"), Opening::Closed);
        assert_eq!(at(night, berlin, "2026-10-25T01:15:00Z"), Opening::Closed, "02:15 again");
        let long = "sun 01:00-04:00";
        assert_eq!(at(long, berlin, "2026-10-25T01:15:00Z"), until("2026-10-25T03:00:00Z"));
        // Put forward at 02:00 to 03:00 on 2026-03-29 at 01:00 UTC.
        assert_eq!(at(long, berlin, "2026-03-29T00:30:00Z"), until("2026-03-29T02:00:00Z"));
        assert_eq!(at(night, berlin, "2026-03-29T00:30:00Z"), until("2026-03-29T01:00:00Z"));
        let skipped = "sun 02:10-02:50";
        assert_eq!(at(skipped, berlin, "2026-03-29T01:00:00Z"), Opening::Closed);
        // What is shown twice is open once, and no hole is torn into hours that touch.
        let late = "sun 02:30-03:00";
        for (now, expected) in [
            ("2026-10-25T00:45:00Z", Opening::Closed),
            ("2026-10-25T01:15:00Z", Opening::Closed),
            ("2026-10-25T01:30:00Z", until("2026-10-25T02:00:00Z")),
            ("2026-10-25T02:00:00Z", Opening::Closed),
        ] {
            assert_eq!(at(late, berlin, now), expected, "{now}");
        }
        let within = "sun 02:10-02:50";
        assert_eq!(at(within, berlin, "2026-10-25T00:20:00Z"), until("2026-10-25T00:50:00Z"));
        assert_eq!(at(within, berlin, "2026-10-25T01:20:00Z"), Opening::Closed);
        let touching = "sun 00:00-02:30, sun 02:30-05:00";
        for now in ["2026-10-25T00:20:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:45:00Z"] {
            assert_eq!(at(touching, berlin, now), until("2026-10-25T04:00:00Z"), "{now}");
        }
        // There midnight itself comes twice, on 2026-11-01.
        let always = at("daily 00:00-24:00", "America/Havana", "2026-11-01T04:30:00Z");
        assert_eq!(always, Opening::Always);
        let across = "sat 22:00-06:00";
        assert_eq!(at(across, berlin, "2026-10-25T01:30:00Z"), until("2026-10-25T05:00:00Z"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (text, shown) in [
            ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00"),
            ("Sat 22:00-02:00; mon 00:00-24:00", "mon 00:00-24:00, sat 22:00-02:00"),
            ("daily 06:00-22:00", "mon-sun 06:00-22:00"),
            ("fri-mon 09:00-10:00", "mon 09:00-10:00, fri-sun 09:00-10:00"),
            ("mon 08:00-12:00,mon 13:00-17:00", "mon 08:00-12:00, mon 13:00-17:00"),
        ] {
            let hours: Hours = text.parse().unwrap();
            assert_eq!(hours.to_string(), shown);
            assert_eq!(shown.parse::<Hours>().unwrap(), hours);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "mon",
            "mon 8:00-18:00",
            "mon 08:00",
            "foo 08:00-18:00",
            "mon 24:00-01:00",
            "mon 08:60-09:00",
            "mon 08:00-24:01",
            "mon-xyz 08:00-09:00",
            "mon 08:00-18:00,",
        ] {
            assert!(matches!(text.parse::<Hours>(), Err(HoursError::Form(_))), "{text}");
        }
        assert!(matches!("mon 08:00-08:00".parse::<Hours>(), Err(HoursError::Empty(_))));
        let many: Vec<_> =
            (0..65).map(|n| format!("mon 01:{:02}-0{}:00", n % 60, 2 + n / 60)).collect();
        assert_eq!(many.join(",").parse::<Hours>(), Err(HoursError::TooMany));
        assert!(HourRange::new(0, "08:00", "09:00").is_err());
        assert!(HourRange::new(8, "08:00", "09:00").is_err());
    }
}
