//! How much time and how many bytes fall to each user in each period: pure.
//!
//! Periods are of UTC: a day begins at midnight UTC, a week on Monday, a month on its first day.

use std::collections::{BTreeMap, HashSet};

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime};
use clap::ValueEnum;

use crate::{
    store::SessionSpan,
    types::{SessionId, Timestamp, Username},
};

/// Length of the periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// From midnight to midnight, UTC
    Day,
    /// From Monday to Sunday, UTC
    Week,
    /// Calendar months, UTC
    Month,
    /// All of the time asked for
    Total,
}

/// What a user did in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Sessions with a part in it.
    pub sessions: u64,
    /// Time, in milliseconds.
    pub millis: u64,
    /// Octets from the client.
    pub received: u64,
    /// Octets to the client.
    pub sent: u64,
}

/// A stretch of time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// First moment.
    pub from: Timestamp,
    /// First moment after it.
    pub until: Timestamp,
}

impl By {
    /// The period in which `at` lies, cut to `whole`.
    fn period(self, at: Timestamp, whole: Period) -> Period {
        let date = at.to_datetime().date_naive();
        let weekday = u64::from(date.weekday().num_days_from_monday());
        let (first, next) = match self {
            Self::Day => (Some(date), date.checked_add_days(Days::new(1))),
            Self::Week => {
                let monday = date.checked_sub_days(Days::new(weekday));
                (monday, monday.and_then(|day| day.checked_add_days(Days::new(7))))
            }
            Self::Month => {
                let first = date.with_day(1);
                (first, first.and_then(|day| day.checked_add_months(Months::new(1))))
            }
            Self::Total => (None, None),
        };
        let start = |date: NaiveDate| Timestamp::from_naive_utc(date.and_time(NaiveTime::MIN));
        Period {
            from: first.map_or(whole.from, |date| start(date).max(whole.from)),
            until: next.map_or(whole.until, |date| start(date).min(whole.until)),
        }
    }

    /// The name of a period: `2026-11-23`, `2026-W48`, `2026-11`, `total`.
    pub fn label(self, period: Period) -> String {
        let date = period.from.to_datetime().date_naive();
        match self {
            Self::Day => date.format("%Y-%m-%d").to_string(),
            Self::Week => date.format("%G-W%V").to_string(),
            Self::Month => date.format("%Y-%m").to_string(),
            Self::Total => "total".into(),
        }
    }
}

/// The parts of one session in the periods of `whole`. Time is cut exactly; bytes are shared out
/// in proportion to it, because when they flowed is not known. The parts of a session that lies in
/// `whole` add up to it, to the byte.
pub fn split(span: &SessionSpan, whole: Period, by: By) -> Vec<(Period, Amount)> {
    let (start, end) = (span.started_at, span.until.max(span.started_at));
    let length = millis(start, end);
    // Bytes until a moment, so that no rounding is lost between two parts.
    let share = |bytes: u64, at: Timestamp| match length {
        0 => bytes,
        _ => {
            let part = u128::from(bytes) * u128::from(millis(start, at)) / u128::from(length);
            u64::try_from(part).unwrap_or(u64::MAX)
        }
    };
    let mut parts = Vec::new();
    let mut at = start.max(whole.from);
    if length == 0 && whole.from <= start && start < whole.until {
        let (received, sent) = (span.bytes_received, span.bytes_sent);
        let amount = Amount { sessions: 1, millis: 0, received, sent };
        return vec![(by.period(start, whole), amount)];
    }
    while at < end.min(whole.until) {
        let period = by.period(at, whole);
        let until = period.until.min(end);
        if until <= at {
            break;
        }
        let amount = Amount {
            sessions: 1,
            millis: millis(at, until),
            received: share(span.bytes_received, until) - share(span.bytes_received, at),
            sent: share(span.bytes_sent, until) - share(span.bytes_sent, at),
        };
        parts.push((period, amount));
        at = until;
    }
    parts
}

fn millis(from: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.saturating_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// Adds up sessions.
pub struct Usage {
    whole: Period,
    by: By,
    /// Sessions that were open when they were read: they may come again.
    open: HashSet<SessionId>,
    amounts: BTreeMap<(Username, Period), Amount>,
}

impl Usage {
    /// Nothing yet.
    pub fn new(whole: Period, by: By) -> Self {
        Self { whole, by, open: HashSet::new(), amounts: BTreeMap::new() }
    }

    /// Adds a session, unless it was added while it was open.
    pub fn add(&mut self, span: &SessionSpan) {
        if self.open.contains(&span.id) {
            return;
        }
        if span.is_open {
            self.open.insert(span.id);
        }
        for (period, part) in split(span, self.whole, self.by) {
            let sum = self.amounts.entry((span.user.clone(), period)).or_default();
            sum.sessions += part.sessions;
            sum.millis = sum.millis.saturating_add(part.millis);
            sum.received = sum.received.saturating_add(part.received);
            sum.sent = sum.sent.saturating_add(part.sent);
        }
    }

    /// Every user and period with a session in it, in their order.
    pub fn amounts(&self) -> impl Iterator<Item = (&Username, Period, Amount)> {
        self.amounts.iter().map(|((user, period), amount)| (user, *period, *amount))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::default()).unwrap()
    }

    fn span(from: Timestamp, until: Timestamp, bytes: u64) -> SessionSpan {
        SessionSpan {
            id: SessionId::new(from, [0; 10]),
            user: "alice".parse().unwrap(),
            started_at: from,
            until,
            is_open: false,
            bytes_received: bytes,
            bytes_sent: bytes / 2,
        }
    }

    fn always() -> Period {
        Period { from: Timestamp::from_secs(0), until: Timestamp::MAX }
    }

    fn labelled(span: &SessionSpan, whole: Period, by: By) -> Vec<(String, u64, u64)> {
        let parts = split(span, whole, by);
        parts.iter().map(|(p, a)| (by.label(*p), a.millis / 1000, a.received)).collect()
    }

    fn row(label: &str, seconds: u64, bytes: u64) -> (String, u64, u64) {
        (label.to_owned(), seconds, bytes)
    }

    #[test]
    fn a_session_over_midnight_falls_to_both_days() {
        let night = span(at("2026-11-23T22:00:00Z"), at("2026-11-24T06:00:00Z"), 800);
        let days = [row("2026-11-23", 7_200, 200), row("2026-11-24", 21_600, 600)];
        assert_eq!(labelled(&night, always(), By::Day), days);
        assert_eq!(labelled(&night, always(), By::Week), [row("2026-W48", 28_800, 800)]);
        assert_eq!(labelled(&night, always(), By::Month), [row("2026-11", 28_800, 800)]);
        assert_eq!(labelled(&night, always(), By::Total), [row("total", 28_800, 800)]);
    }

    #[test]
    fn weeks_begin_on_monday_and_have_the_year_of_their_thursday() {
        let over = span(at("2026-12-27T12:00:00Z"), at("2027-01-04T12:00:00Z"), 0);
        let weeks = labelled(&over, always(), By::Week);
        let names: Vec<_> = weeks.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["2026-W52", "2026-W53", "2027-W01"]);
        assert_eq!(weeks[1].1, 7 * 86_400);
        let months = labelled(&over, always(), By::Month);
        assert_eq!(months[0].1, 4 * 86_400 + 43_200);
        assert_eq!(months[1].1, 3 * 86_400 + 43_200);
    }

    #[test]
    fn what_lies_outside_is_cut_off_with_its_share_of_bytes() {
        let session = span(at("2026-11-01"), at("2026-11-11"), 1_000);
        let whole = Period { from: at("2026-11-03T12:00:00Z"), until: at("2026-11-05") };
        let days = [row("2026-11-03", 43_200, 50), row("2026-11-04", 86_400, 100)];
        assert_eq!(labelled(&session, whole, By::Day), days);
        for outside in [("2026-10-01", "2026-11-01"), ("2026-11-11", "2026-12-01")] {
            let whole = Period { from: at(outside.0), until: at(outside.1) };
            assert!(split(&session, whole, By::Day).is_empty(), "{outside:?}");
        }
    }

    #[test]
    fn a_session_without_length_belongs_to_the_period_of_its_start() {
        let day = Period { from: at("2026-11-24"), until: at("2026-11-25") };
        let flash = |start: &str| span(at(start), at(start), 7);
        assert_eq!(labelled(&flash("2026-11-24"), day, By::Day), [row("2026-11-24", 0, 7)]);
        assert!(split(&flash("2026-11-25"), day, By::Day).is_empty());
        // A row whose end lies before its start, after a step of the clock.
        let odd = span(at("2026-11-24T12:00:00Z"), at("2026-11-24"), 7);
        assert_eq!(labelled(&odd, day, By::Day), [row("2026-11-24", 0, 7)]);
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let end = Timestamp::from_millis(Timestamp::MAX.as_millis() - DAY);
        for by in [By::Day, By::Week, By::Month, By::Total] {
            let parts = split(&span(end, Timestamp::MAX, u64::MAX), always(), by);
            let sum = parts.iter().map(|(_, amount)| amount.received).sum::<u64>();
            assert_eq!(sum, u64::MAX, "{by:?}");
        }
    }

    #[test]
    fn a_session_that_comes_again_counts_once() {
        let mut usage = Usage::new(always(), By::Total);
        let open = SessionSpan { is_open: true, ..span(at("2026-11-23"), at("2026-11-24"), 10) };
        usage.add(&open);
        usage.add(&SessionSpan { until: at("2026-11-25"), is_open: false, ..open.clone() });
        usage.add(&SessionSpan {
            user: "bob".parse().unwrap(),
            ..span(at("2026-11-22"), at("2026-11-24"), 4)
        });
        let other = SessionSpan { id: SessionId::new(at("2026-11-23"), [1; 10]), ..open };
        usage.add(&SessionSpan { is_open: false, ..other });
        let sums: Vec<_> = usage
            .amounts()
            .map(|(user, _, amount)| (user.to_string(), amount.sessions, amount.received))
            .collect();
        assert_eq!(sums, [("alice".into(), 2, 20), ("bob".into(), 1, 4)]);
    }

    proptest! {
        #[test]
        fn parts_follow_each_other_and_add_up(
            start in 0i64..4_000_000_000_000,
            length in 0i64..400 * DAY,
            bytes: u64,
        ) {
            let end = Timestamp::from_millis(start + length);
            let session = span(Timestamp::from_millis(start), end, bytes);
            for by in [By::Day, By::Week, By::Month, By::Total] {
                let parts = split(&session, always(), by);
                let sum = |field: fn(&Amount) -> u64| parts.iter().map(|(_, a)| field(a)).sum::<u64>();
                prop_assert_eq!(sum(|a| a.millis), length as u64);
                prop_assert_eq!(sum(|a| a.received), bytes);
                prop_assert_eq!(sum(|a| a.sent), bytes / 2);
                for pair in parts.windows(2) {
                    prop_assert_eq!(pair[0].0.until, pair[1].0.from);
                }
            }
        }
    }
}
