//! Time zones: where a day begins, and what a clock on the wall shows.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use thiserror::Error;

use super::Timestamp;

/// A time zone of the IANA database, as `Europe/Berlin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(chrono_tz::Tz);

/// A name that is in no time zone database.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no time zone; use a name of the IANA database as Europe/Berlin, or UTC")]
pub struct ZoneError(pub String);

/// When the day, the week (from Monday on) and the month began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// Midnight.
    pub day: Timestamp,
    /// Midnight of Monday.
    pub week: Timestamp,
    /// Midnight of the first.
    pub month: Timestamp,
}

impl Default for Zone {
    fn default() -> Self {
        Self(chrono_tz::UTC)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(s: &str) -> Result<Self, ZoneError> {
        s.parse().map(Self).map_err(|_| ZoneError(s.chars().take(64).collect()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Zone {
    /// What a clock on the wall shows.
    pub fn local(self, at: Timestamp) -> NaiveDateTime {
        self.0.from_utc_datetime(&at.to_datetime().naive_utc()).naive_local()
    }

    /// When a clock on the wall shows this: the first time where it does so twice, and where it
    /// never does, the moment at which it is put forward.
    pub fn instant(self, local: NaiveDateTime) -> Timestamp {
        let minute = TimeDelta::minutes(1);
        // No clock was ever put forward by more than a day.
        std::iter::successors(Some(local), |at| at.checked_add_signed(minute))
            .take(24 * 60 + 1)
            .find_map(|at| self.0.from_local_datetime(&at).earliest())
            .map_or_else(|| Timestamp::from_naive_utc(local), timestamp)
    }

    /// The same, but the last time where a clock on the wall shows this twice.
    pub fn instant_again(self, local: NaiveDateTime) -> Timestamp {
        self.0.from_local_datetime(&local).latest().map_or_else(|| self.instant(local), timestamp)
    }

    /// When the day began.
    pub fn day_start(self, at: Timestamp) -> Timestamp {
        self.midnight(self.local(at).date()).min(at)
    }

    /// When the next day begins.
    pub fn next_day(self, at: Timestamp) -> Timestamp {
        self.after(self.local(at).date().checked_add_days(Days::new(1)), at)
    }

    /// When the present day, week and month began.
    pub fn began(self, at: Timestamp) -> Periods {
        let date = self.local(at).date();
        let monday = date.week(chrono::Weekday::Mon).checked_first_day().unwrap_or(date);
        let start = |date| self.midnight(date).min(at);
        Periods {
            day: start(date),
            week: start(monday),
            month: start(date.with_day(1).unwrap_or(date)),
        }
    }

    /// When the present day, week and month are over.
    pub fn ends(self, at: Timestamp) -> Periods {
        let date = self.local(at).date();
        let sunday = date.week(chrono::Weekday::Mon).checked_last_day().unwrap_or(date);
        let next_month =
            date.with_day(1).and_then(|d| d.checked_add_months(chrono::Months::new(1)));
        Periods {
            day: self.next_day(at),
            week: self.after(sunday.checked_add_days(Days::new(1)), at),
            month: self.after(next_month, at),
        }
    }

    fn midnight(self, date: NaiveDate) -> Timestamp {
        self.instant(date.and_time(NaiveTime::MIN))
    }

    /// The midnight of a date to come; never `at` or before.
    fn after(self, date: Option<NaiveDate>, at: Timestamp) -> Timestamp {
        let midnight = date.map_or(Timestamp::MAX, |date| self.midnight(date));
        midnight.max(at.saturating_add(Duration::from_secs(1)))
    }
}

fn timestamp<T: TimeZone>(at: DateTime<T>) -> Timestamp {
    Timestamp::from_millis(at.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_weeks_and_months_begin_at_local_midnight() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let at = utc("2026-11-24T23:30:00Z");
        let began = berlin.began(at);
        assert_eq!(began.day, utc("2026-11-24T23:00:00Z"), "it is the 25th there, a Wednesday");
        assert_eq!(began.week, utc("2026-11-22T23:00:00Z"));
        assert_eq!(began.month, utc("2026-10-31T23:00:00Z"));
        let ends = berlin.ends(at);
        assert_eq!(ends.day, utc("2026-11-25T23:00:00Z"));
        assert_eq!(ends.week, utc("2026-11-29T23:00:00Z"));
        assert_eq!(ends.month, utc("2026-11-30T23:00:00Z"));
        assert_eq!(berlin.day_start(at), began.day);
        assert_eq!(berlin.next_day(began.day), ends.day, "a midnight belongs to its day");
    }

    #[test]
    fn a_day_on_which_the_clock_is_changed_is_shorter_or_longer() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let hours = |day: &str| {
            let at = utc(day);
            berlin.next_day(at).saturating_since(berlin.day_start(at)).as_secs() / 3_600
        };
        assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours("2026-10-26T12:00:00Z"), 24);
    }

    #[test]
    fn a_time_that_comes_twice_means_the_first_and_one_that_never_comes_the_change() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let local = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        assert_eq!(berlin.instant(local("2026-10-25T02:30:00")), utc("2026-10-25T00:30:00Z"));
        assert_eq!(berlin.instant(local("2026-03-29T02:10:00")), utc("2026-03-29T01:00:00Z"));
        // Midnight itself is skipped there.
        let beirut: Zone = "Asia/Beirut".parse().unwrap();
        let at = utc("2026-03-28T23:00:00Z");
        assert_eq!(beirut.day_start(at), utc("2026-03-28T22:00:00Z"));
        // A whole day is skipped there.
        let apia: Zone = "Pacific/Apia".parse().unwrap();
        assert_eq!(apia.instant(local("2011-12-30T12:00:00")), utc("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn every_day_ends_after_it_began() {
        for name in ["America/St_Johns", "Asia/Beirut", "Pacific/Apia", "Africa/Cairo", "UTC"] {
            let zone: Zone = name.parse().unwrap();
            let mut at = utc("2009-01-01T00:00:00Z");
            while at < utc("2012-02-01T00:00:00Z") {
                let (began, ends) = (zone.began(at), zone.ends(at));
                for (from, to) in
                    [(began.day, ends.day), (began.week, ends.week), (began.month, ends.month)]
                {
                    assert!(from <= at && at < to, "{name} at {at}");
                }
                at = at.saturating_add(Duration::from_secs(1_790));
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_what_to_write() {
        let error = "Mars/Olympus".parse::<Zone>().unwrap_err();
        assert!(error.to_string().contains("Europe/Berlin"));
        assert_eq!("Asia/Tokyo".parse::<Zone>().unwrap().to_string(), "Asia/Tokyo");
    }
}
