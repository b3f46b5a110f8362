//! What is left of a user's quotas, and until when it lasts. A core.
//!
//! Time counts for each session: two at once use it up twice as fast. Data counts both ways. A
//! session that is open counts by its own row, one that has ended by what it left for each day.

use std::time::Duration;

use crate::{
    store::{Granted, OpenUse, PolicyRecord, Usage},
    types::{Period, Periods, SessionId, Timestamp, Zone},
};

/// From which age on an open session is one that nobody watches: it counts until it was last seen.
const UNWATCHED: Duration = Duration::from_secs(3_600);

/// The bytes that a session may still carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// It ends when its counters, both ways together, have come so far.
    pub counter: u64,
    /// From then on this does not hold: a new day, week or month has begun.
    pub resets_at: Option<Timestamp>,
}

/// A user's quotas and what he has used of them at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Meter<'a> {
    policy: &'a PolicyRecord,
    usage: &'a Usage,
    zone: Zone,
    now: Timestamp,
}

impl<'a> Meter<'a> {
    /// By the calendar of a zone.
    pub const fn new(
        policy: &'a PolicyRecord,
        usage: &'a Usage,
        zone: Zone,
        now: Timestamp,
    ) -> Self {
        Self { policy, usage, zone, now }
    }

    /// The time used in a period.
    pub fn time(&self, period: Period) -> Duration {
        let begin = self.begin(period);
        let open = self
            .usage
            .open
            .iter()
            .map(|open| self.last_seen(open).saturating_since(open.started_at.max(begin)));
        self.usage.time[period as usize].saturating_add(open.sum())
    }

    /// The bytes used in a period, both ways.
    pub fn data(&self, period: Period) -> u64 {
        let begin = self.begin(period);
        let open = self.usage.open.iter().map(|open| bytes_since(open, begin));
        open.fold(self.usage.bytes[period as usize], u64::saturating_add)
    }

    /// The first period whose time is used up: less of it is left than a second, in which quotas are given. A tunnel would be
    /// up for no longer than its login took.
    pub fn time_is_used(&self) -> Option<Period> {
        self.policy
            .time_quota
            .iter()
            .map(|(period, _)| period)
            .find(|p| self.time_left(*p) < Duration::from_secs(1))
    }

    /// The first period whose data is used up.
    pub fn data_is_used(&self) -> Option<Period> {
        self.policy.data_quota.iter().map(|(period, _)| period).find(|p| self.data_left(*p) == 0)
    }

    /// When the time is used up by a session and the others that are open, and by it alone.
    pub fn time_ends(&self, own: Option<SessionId>) -> (Option<Timestamp>, Option<Timestamp>) {
        let is_other = |open: &&OpenUse| Some(open.session) != own && self.is_watched(open);
        let others = self.usage.open.iter().filter(is_other).count();
        let sharing = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        (self.time_ends_with(sharing), self.time_ends_with(1))
    }

    fn time_ends_with(&self, sharing: u32) -> Option<Timestamp> {
        let each = self
            .policy
            .time_quota
            .iter()
            .filter_map(|(period, limit)| self.time_of_ends(period, limit, sharing));
        each.min()
    }

    /// When the time of a period is used up, by so many sessions at once. From one moment to the next at which
    /// something changes: a grant ends, or a new period begins.
    fn time_of_ends(&self, period: Period, limit: u64, sharing: u32) -> Option<Timestamp> {
        let (mut at, mut used) = (self.now, self.time(period));
        let mut reset = end_of(period, self.zone.ends(at));
        let mut is_next = false;
        loop {
            let limit = Duration::from_secs(limit).saturating_add(self.usage.granted_time(at));
            let end = at.saturating_add(limit.saturating_sub(used) / sharing);
            let grants = self.usage.grants.iter().filter(|(amount, until)| {
                matches!(amount, Granted::Time(_)) && *until > at && *until < Timestamp::MAX
            });
            let Some(change) = grants.map(|(_, until)| *until).chain(reset).min() else {
                return Some(end);
            };
            if end < change {
                return Some(end);
            }
            let passed = change.saturating_since(at).saturating_mul(sharing);
            used = used.saturating_add(passed);
            at = change;
            if Some(change) == reset {
                // It lasts for this period, and begins anew with the next; what lasts for that, too, is used up never.
                if is_next {
                    return None;
                }
                (is_next, used) = (true, Duration::ZERO);
                reset = end_of(period, self.zone.ends(at));
            }
        }
    }

    /// How many bytes a session may carry; `None`: any number.
    pub fn allowance(&self, own: Option<SessionId>) -> Option<Allowance> {
        let stored = self.usage.open.iter().find(|open| Some(open.session) == own).map_or(0, total);
        let each = self.policy.data_quota.iter().map(|(period, _)| Allowance {
            counter: stored.saturating_add(self.data_left(period)),
            resets_at: end_of(period, self.zone.ends(self.now)),
        });
        each.min_by_key(|allowance| allowance.counter)
    }

    /// What is left of a period's time; nothing where there is no quota.
    pub fn time_left(&self, period: Period) -> Duration {
        let limit = Duration::from_secs(self.policy.time_quota.of(period).unwrap_or(0));
        limit.saturating_add(self.usage.granted_time(self.now)).saturating_sub(self.time(period))
    }

    /// What is left of a period's bytes; nothing where there is no quota.
    pub fn data_left(&self, period: Period) -> u64 {
        let limit = self.policy.data_quota.of(period).unwrap_or(0);
        limit.saturating_add(self.usage.granted_bytes(self.now)).saturating_sub(self.data(period))
    }

    fn begin(&self, period: Period) -> Timestamp {
        let began = self.zone.began(self.now);
        match period {
            Period::Day => began.day,
            Period::Week => began.week,
            Period::Month => began.month,
            Period::Total => Timestamp::from_millis(i64::MIN),
        }
    }

    fn is_watched(&self, open: &OpenUse) -> bool {
        self.now.saturating_since(open.seen_at) < UNWATCHED
    }

    fn last_seen(&self, open: &OpenUse) -> Timestamp {
        if self.is_watched(open) { self.now } else { open.seen_at }
    }
}

const fn end_of(period: Period, ends: Periods) -> Option<Timestamp> {
    match period {
        Period::Day => Some(ends.day),
        Period::Week => Some(ends.week),
        Period::Month => Some(ends.month),
        Period::Total => None,
    }
}

const fn total(open: &OpenUse) -> u64 {
    open.bytes_received.saturating_add(open.bytes_sent)
}

/// What an open session has carried since a midnight. Where the counters of just then are not known,
/// those of the midnight before count.
fn bytes_since(open: &OpenUse, begin: Timestamp) -> u64 {
    if open.updated_at < begin {
        return 0;
    }
    let before = open.marks.iter().take_while(|mark| mark.at <= begin).last();
    let before = before.map_or(0, |mark| mark.bytes_received.saturating_add(mark.bytes_sent));
    total(open).saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{DayMark, DayMarks},
        types::Quotas,
    };

    const HOUR: Duration = Duration::from_secs(3_600);
    const GIB: u64 = 1 << 30;

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn policy(time: &str, data: &str) -> PolicyRecord {
        PolicyRecord {
            time_quota: if time.is_empty() {
                Quotas::default()
            } else {
                Quotas::parse_time(time).unwrap()
            },
            data_quota: if data.is_empty() {
                Quotas::default()
            } else {
                Quotas::parse_data(data).unwrap()
            },
            ..PolicyRecord::default()
        }
    }

    fn open(number: u8, started: &str, updated: &str, bytes: u64) -> OpenUse {
        OpenUse {
            session: SessionId::new(Timestamp::from_secs(1), [number; 10]),
            started_at: utc(started),
            updated_at: utc(updated),
            seen_at: utc(updated),
            bytes_received: bytes,
            bytes_sent: 0,
            marks: DayMarks::default(),
        }
    }

    fn own(number: u8) -> Option<SessionId> {
        Some(SessionId::new(Timestamp::from_secs(1), [number; 10]))
    }

    #[test]
    fn time_is_left_until_it_is_used_by_ended_and_open_sessions() {
        let now = utc("2026-11-24T12:00:00Z");
        let policy = policy("3h/day", "");
        let mut usage = Usage { time: [HOUR; 4], ..Usage::default() };
        let meter = |usage: &Usage| {
            let meter = Meter::new(&policy, usage, Zone::default(), now);
            (meter.time_left(Period::Day), meter.time_is_used(), meter.time_ends(own(1)).0)
        };
        assert_eq!(meter(&usage), (2 * HOUR, None, Some(utc("2026-11-24T14:00:00Z"))));
        usage.open.push(open(1, "2026-11-24T11:00:00Z", "2026-11-24T11:59:40Z", 0));
        assert_eq!(meter(&usage), (HOUR, None, Some(utc("2026-11-24T13:00:00Z"))));
        // Another one at the same time.
        usage.open.push(open(2, "2026-11-24T11:30:00Z", "2026-11-24T11:59:40Z", 0));
        assert_eq!(meter(&usage), (HOUR / 2, None, Some(utc("2026-11-24T12:15:00Z"))));
        usage.open.push(open(3, "2026-11-24T11:30:00Z", "2026-11-24T11:59:40Z", 0));
        assert_eq!(meter(&usage), (Duration::ZERO, Some(Period::Day), Some(now)));
        usage.grants.push((Granted::Time(3_600), Timestamp::MAX));
        assert_eq!(meter(&usage).2, Some(utc("2026-11-24T12:20:00Z")));
        // One that carries nothing counts as long as it is seen; one that nobody has seen for long
        // counts until then, and shares no more.
        usage.open[2].updated_at = utc("2026-11-24T10:59:00Z");
        assert_eq!(meter(&usage).2, Some(utc("2026-11-24T12:20:00Z")));
        usage.open[2].seen_at = utc("2026-11-24T10:59:00Z");
        usage.open[2].started_at = utc("2026-11-24T10:58:00Z");
        assert_eq!(meter(&usage).2, Some(utc("2026-11-24T12:44:30Z")));
    }

    #[test]
    fn less_than_a_second_is_nothing_that_is_left() {
        let policy = policy("1h/day", "");
        for (millis, used) in [(3_599_000, None), (3_599_001, Some(Period::Day))] {
            let usage = Usage { time: [Duration::from_millis(millis); 4], ..Usage::default() };
            let meter = Meter::new(&policy, &usage, Zone::default(), utc("2026-11-24T12:00:00Z"));
            assert_eq!(meter.time_is_used(), used, "{millis}");
        }
    }

    #[test]
    fn a_session_that_lasts_into_the_next_period_has_that_ones_quota_too() {
        let now = utc("2026-11-24T23:00:00Z");
        let usage = Usage::default();
        let ends = |time: &str, usage: &Usage| {
            Meter::new(&policy(time, ""), usage, Zone::default(), now).time_ends(None).0
        };
        assert_eq!(ends("2h/day", &usage), Some(utc("2026-11-25T02:00:00Z")));
        assert_eq!(ends("30m/day", &usage), Some(utc("2026-11-24T23:30:00Z")));
        assert_eq!(ends("24h/day", &usage), None, "it is never used up");
        assert_eq!(ends("30h/total", &usage), Some(utc("2026-11-26T05:00:00Z")));
        assert_eq!(ends("2h/day, 90m/week", &usage), Some(utc("2026-11-25T00:30:00Z")));
        assert_eq!(ends("200h/month", &usage), Some(utc("2026-12-09T08:00:00Z")), "of December");
        // What was used yesterday is of no interest today.
        let session = open(1, "2026-11-23T20:00:00Z", "2026-11-24T22:59:50Z", 0);
        let usage = Usage { open: vec![session], ..Usage::default() };
        let policy = policy("24h/day", "");
        let meter = Meter::new(&policy, &usage, Zone::default(), now);
        assert_eq!(meter.time(Period::Day), 23 * HOUR);
        assert_eq!(meter.time(Period::Week), 27 * HOUR);
    }

    #[test]
    fn a_grant_raises_the_quota_of_each_period_until_it_ends() {
        let granted = |time: &str, now: &str, until: &str| {
            let usage =
                Usage { grants: vec![(Granted::Time(7_200), utc(until))], ..Usage::default() };
            let policy = policy(time, "");
            let meter = Meter::new(&policy, &usage, Zone::default(), utc(now));
            (meter.time_left(Period::Day).as_secs() / 60, meter.time_ends(None).0)
        };
        let noon = "2026-11-24T12:00:00Z";
        let late = "2026-11-24T22:00:00Z";
        for (quota, now, until, left, ends) in [
            ("1h/day", noon, "2026-11-25T00:00:00Z", 180, "2026-11-24T15:00:00Z"),
            // It ends while it is being used: what is over the quota by then is over.
            ("1h/day", noon, "2026-11-24T14:00:00Z", 180, "2026-11-24T14:00:00Z"),
            ("1h/day", noon, "2026-11-24T12:30:00Z", 180, "2026-11-24T13:00:00Z"),
            // The next day has it anew while it holds, and not any more.
            ("1h/day", late, "2026-11-26T00:00:00Z", 180, "2026-11-25T03:00:00Z"),
            ("1h/day", late, "2026-11-25T00:00:00Z", 180, "2026-11-25T01:00:00Z"),
            ("1h/day", late, "2026-11-25T02:00:00Z", 180, "2026-11-25T02:00:00Z"),
            ("1h/day", late, "2026-11-24T22:00:00Z", 60, "2026-11-24T23:00:00Z"),
            ("1h/total", noon, "9999-12-31T23:59:59.999Z", 120, "2026-11-24T15:00:00Z"),
        ] {
            let (found, at) = granted(quota, now, until);
            assert_eq!((found, at), (left, Some(utc(ends))), "{quota} {now} {until}");
        }
        assert_eq!(granted("22h/day", noon, "2026-11-30T00:00:00Z").1, None, "never used up");
        // Of data the other kind is of no interest.
        let grants = vec![
            (Granted::Data(u64::MAX), Timestamp::MAX),
            (Granted::Data(u64::MAX), Timestamp::MAX),
            (Granted::Time(u64::MAX), Timestamp::MAX),
        ];
        let usage = Usage { grants, ..Usage::default() };
        let policy = policy("1h/day", "1GiB/day");
        let meter = Meter::new(&policy, &usage, Zone::default(), utc(noon));
        assert_eq!(meter.data_left(Period::Day), u64::MAX);
        assert_eq!((meter.time_is_used(), meter.time_ends(None).0), (None, None));
    }

    #[test]
    fn data_is_split_where_the_day_began() {
        let now = utc("2026-11-24T12:00:00Z");
        let mut session = open(1, "2026-11-22T20:00:00Z", "2026-11-24T11:59:50Z", 10 * GIB);
        for (at, gib) in [("2026-11-23T00:00:00Z", 4), ("2026-11-24T00:00:00Z", 7)] {
            let mark = DayMark { at: utc(at), bytes_received: gib * GIB, bytes_sent: 0 };
            session.marks.push(mark);
        }
        let bytes = [GIB, 2 * GIB, 3 * GIB, 4 * GIB];
        let usage = Usage { bytes, open: vec![session], ..Usage::default() };
        let policy = policy("", "5GiB/day, 100GiB/week");
        let meter = Meter::new(&policy, &usage, Zone::default(), now);
        let used: Vec<_> = Period::ALL.iter().map(|period| meter.data(*period) / GIB).collect();
        assert_eq!(used, [4, 8, 13, 14], "2026-11-23 was a Monday");
        assert_eq!(meter.data_left(Period::Day), GIB);
        let resets_at = Some(utc("2026-11-25T00:00:00Z"));
        assert_eq!(meter.allowance(own(1)), Some(Allowance { counter: 11 * GIB, resets_at }));
        assert_eq!(meter.allowance(None), Some(Allowance { counter: GIB, resets_at }));
        assert_eq!(meter.data_is_used(), None);
        let more = Usage { bytes: [2 * GIB; 4], ..usage.clone() };
        let meter = Meter::new(&policy, &more, Zone::default(), now);
        assert_eq!(meter.data_is_used(), Some(Period::Day));
        let granted = Usage { grants: vec![(Granted::Data(5), Timestamp::MAX)], ..more };
        let meter = Meter::new(&policy, &granted, Zone::default(), now);
        assert_eq!((meter.data_left(Period::Day), meter.data_is_used()), (5, None));
    }

    #[test]
    fn a_row_of_before_midnight_counts_for_the_day_before() {
        let now = utc("2026-11-24T00:00:05Z");
        let session = open(1, "2026-11-23T20:00:00Z", "2026-11-23T23:59:50Z", GIB);
        let usage = Usage { open: vec![session], ..Usage::default() };
        let policy = policy("", "1GiB/day");
        let meter = Meter::new(&policy, &usage, Zone::default(), now);
        assert_eq!(meter.data(Period::Day), 0);
        assert_eq!(meter.allowance(own(1)).unwrap().counter, 2 * GIB);
    }

    #[test]
    fn a_day_lasts_as_long_as_the_clock_of_its_zone_says() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let ends = |time: &str, now: &str| {
            let usage = Usage::default();
            Meter::new(&policy(time, ""), &usage, berlin, utc(now)).time_ends(None).0
        };
        // The clock is put back on the 25th of October, which has 25 hours, and forward on the 29th of March.
        let (autumn, spring) = ("2026-10-24T22:00:00Z", "2026-03-28T23:00:00Z");
        assert_eq!(ends("24h/day", autumn), Some(utc("2026-10-25T22:00:00Z")), "an hour too soon");
        assert_eq!(ends("25h/day", autumn), None, "never used up");
        assert_eq!(ends("23h/day", spring), Some(utc("2026-03-30T21:00:00Z")), "on the day after");
        // To the millisecond, on both sides of a midnight that begins a day, a week or a month.
        for (started, now, used) in [
            (
                "2026-10-24T20:00:00Z",
                "2026-10-25T23:30:00.001Z",
                [1_800_001, 1_800_001, 99_000_001],
            ),
            ("2026-10-31T22:00:00.500Z", "2026-10-31T22:59:59.999Z", [3_599_499; 3]),
            ("2026-10-31T22:00:00.500Z", "2026-10-31T23:00:00Z", [0, 3_599_500, 0]),
            ("2026-10-31T22:00:00.500Z", "2026-11-01T23:00:00.003Z", [3, 3, 86_400_003]),
        ] {
            let session = open(1, started, now, 0);
            let usage = Usage { open: vec![session], ..Usage::default() };
            let policy = policy("9h/day", "");
            let meter = Meter::new(&policy, &usage, berlin, utc(now));
            let millis = [Period::Day, Period::Week, Period::Month]
                .map(|period| meter.time(period).as_millis());
            assert_eq!(millis, used, "{started} to {now}");
        }
    }

    #[test]
    fn without_quotas_nothing_is_limited() {
        let (policy, usage) = (PolicyRecord::default(), Usage::default());
        let meter = Meter::new(&policy, &usage, Zone::default(), utc("2026-11-24T00:00:05Z"));
        assert_eq!((meter.time_is_used(), meter.data_is_used()), (None, None));
        assert_eq!((meter.time_ends(None), meter.allowance(None)), ((None, None), None));
    }
}
