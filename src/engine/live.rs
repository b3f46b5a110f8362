//! A session that runs: its row, its deadline on the monotonic clock, its counters and their limits.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    auth::{
        imprint::LetIn,
        quota::Allowance,
        terms::{IdleLimit, Terms},
    },
    store::{DayMark, DayMarks, SessionRecord, SessionState},
    types::{Cause, Moment, Mono, Now, Timestamp, Zone},
};

use super::{CLOSE_COUNT_S, Carried};

/// A deadline that moves by less is not announced again.
const WARNING_TOLERANCE: Duration = Duration::from_secs(2);

/// How long before OpenVPN's own end of a session its client is made to connect again. OpenVPN counts from the
/// tunnel's start, in whole seconds.
const RENEWAL_LEAD: Duration = Duration::from_secs(2);

/// A session of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) record: SessionRecord,
    /// What let it in, to know it by at its renegotiations; `None` for one that was adopted.
    pub(super) let_in: Option<LetIn>,
    /// The deadline on the monotonic clock.
    deadline: Option<Moment>,
    /// The same as it was when it was set: a step of UTC makes it no later.
    latest: Option<Moment>,
    /// When OpenVPN itself ends it, on the monotonic clock, whatever becomes of UTC.
    backstop: Option<Moment>,
    /// How long before the deadline its end is to be announced, in seconds.
    warn_before_s: Option<NonZeroU32>,
    /// Byte counts have changed since they were stored.
    pub(super) is_dirty: bool,
    /// In which round of accounting it was stored last.
    pub(super) stored_in: u32,
    /// What its counters are watched for.
    limits: Option<Box<Limits>>,
    /// Where its days begin.
    zone: Zone,
    /// When the present one ends.
    day_ends: Timestamp,
}

/// Limits that are no moment.
#[derive(Debug)]
struct Limits {
    allowance: Option<Allowance>,
    idle: Option<IdleLimit>,
    /// Since when it has carried too little to count as in use,
    quiet_since: Mono,
    /// and its counters then, both ways.
    quiet_from: u64,
}

impl Session {
    pub(super) fn new(
        record: SessionRecord,
        zone: Zone,
        warn_before: Option<Duration>,
        now: Now,
    ) -> Self {
        let day_ends = zone.next_day(last_day(&record));
        let mut session = Self {
            record,
            let_in: None,
            deadline: None,
            latest: None,
            backstop: None,
            warn_before_s: warn_before.and_then(|before| {
                NonZeroU32::new(before.as_secs().try_into().unwrap_or(u32::MAX))
            }),
            is_dirty: false,
            stored_in: 0,
            limits: None,
            zone,
            day_ends,
        };
        let backstop = session.record.backstop();
        session.backstop = backstop.map(|at| (now.mono + at.saturating_since(now.utc)).into());
        session.arm(now);
        session
    }

    /// Takes over the days that another daemon has noted.
    pub(super) fn follow_days(&mut self, marks: DayMarks) {
        self.record.day_marks = marks;
        self.day_ends = self.zone.next_day(last_day(&self.record));
    }

    /// Takes over what is not the deadline. Whether its counters are to be watched closely.
    pub(super) fn limit(&mut self, terms: &Terms, now: Now) -> bool {
        if self.zone != terms.zone {
            self.zone = terms.zone;
            self.day_ends = terms.zone.next_day(now.utc);
        }
        let Terms { allowance, idle, .. } = *terms;
        match &mut self.limits {
            _ if allowance.is_none() && idle.is_none() => self.limits = None,
            Some(limits) => {
                limits.allowance = allowance;
                limits.idle = idle;
            }
            None => {
                let (quiet_since, quiet_from) = (now.mono, self.total());
                let limits = Limits { allowance, idle, quiet_since, quiet_from };
                self.limits = Some(Box::new(limits));
            }
        }
        self.is_watched()
    }

    /// Whether its counters have limits.
    pub(super) const fn is_watched(&self) -> bool {
        self.limits.is_some()
    }

    /// The limit of its counters that has been reached.
    pub(super) fn exceeded(&self, now: Now) -> Option<Cause> {
        let limits = self.limits.as_deref()?;
        let is_used_up = |allowance: Allowance| {
            self.total() >= allowance.counter && allowance.resets_at.is_none_or(|at| now.utc < at)
        };
        let is_idle = self.idle_due().is_some_and(|at| at <= now.mono);
        if limits.allowance.is_some_and(is_used_up) {
            Some(Cause::DataQuota)
        } else {
            is_idle.then_some(Cause::Idle)
        }
    }

    /// Nobody has watched its counters for a while: it may have been in use.
    pub(super) fn begin_quiet(&mut self, now: Now) {
        let total = self.total();
        if let Some(limits) = &mut self.limits {
            limits.quiet_since = now.mono;
            limits.quiet_from = total;
        }
    }

    const fn total(&self) -> u64 {
        self.record.bytes_received.saturating_add(self.record.bytes_sent)
    }

    /// When it has been idle for too long, if it carries nothing until then. The last count of that
    /// time may come a little later.
    fn idle_due(&self) -> Option<Mono> {
        let limits =
            self.limits.as_deref().filter(|_| self.record.state == SessionState::Active)?;
        let counted = Duration::from_secs(CLOSE_COUNT_S.into());
        limits.idle.map(|idle| limits.quiet_since + idle.after + counted)
    }

    /// Puts the stored deadline on the monotonic clock.
    pub(super) fn arm(&mut self, now: Now) {
        let left = self.record.deadline.map(|at| at.saturating_since(now.utc));
        self.deadline = left.map(|left| (now.mono + left).into());
        self.latest = self.deadline;
        let until_warning =
            left.zip(self.warn_before()).map(|(left, before)| left.saturating_sub(before));
        if until_warning.is_none_or(|until| until > WARNING_TOLERANCE) {
            // A deadline that has moved away is announced anew.
            self.record.warned_at = None;
        }
    }

    fn warn_before(&self) -> Option<Duration> {
        self.warn_before_s.map(|seconds| Duration::from_secs(seconds.get().into()))
    }

    /// When its end is to be announced.
    fn warning(&self) -> Option<Mono> {
        let is_open = self.record.state == SessionState::Active && self.record.warned_at.is_none();
        let deadline = self.deadline.filter(|_| is_open).map(Mono::from)?;
        self.warn_before().map(|before| Mono(deadline.0.saturating_sub(before)))
    }

    /// UTC was set: the deadline, which is in UTC, moves on the monotonic clock, but not beyond where it
    /// was set first. A step that is taken back leaves nothing behind.
    pub(super) fn rearm(&mut self, now: Now) {
        let latest = self.latest;
        self.arm(now);
        self.latest = latest;
        self.deadline = self.deadline.min(latest);
    }

    /// When its end is to be announced, or to come.
    pub(super) fn due(&self) -> Option<Mono> {
        let deadline = self.deadline.map(Mono::from);
        let each = [deadline, self.warning(), self.idle_due(), self.renewal_due()];
        each.into_iter().flatten().min()
    }

    /// When its client is made to connect again: its deadline has moved beyond the moment at which OpenVPN
    /// would end the session without a word, and the client would notice a minute or two later.
    pub(super) fn renewal_due(&self) -> Option<Mono> {
        let backstop = self.backstop.filter(|_| self.record.state == SessionState::Active)?;
        let is_beyond = self.deadline.is_none_or(|deadline| deadline > backstop);
        is_beyond.then(|| Mono(Mono::from(backstop).0.saturating_sub(RENEWAL_LEAD)))
    }

    /// Whether its end is to be announced now.
    pub(super) fn is_to_be_warned_of(&self, now: Mono) -> bool {
        self.warning().is_some_and(|at| at <= now)
    }

    /// Its end is announced.
    pub(super) fn mark_warned(&mut self, now: Now) {
        self.record.warned_at = Some(now.utc);
        self.touch(now.utc);
    }

    /// Marks a change; `at` is when the session was last seen.
    pub(super) fn touch(&mut self, at: Timestamp) {
        self.mark_days(at);
        self.record.version = self.record.version.saturating_add(1);
        self.record.updated_at = self.record.updated_at.max(at);
        self.is_dirty = false;
    }

    /// Counters never go back, except for a new client instance. By how much they grew.
    pub(super) fn count(&mut self, received: u64, sent: u64, now: Now) -> Carried {
        self.mark_days(now.utc);
        let record = &mut self.record;
        let growth = Carried {
            received: received.saturating_sub(record.bytes_received),
            sent: sent.saturating_sub(record.bytes_sent),
        };
        if received > record.bytes_received || sent > record.bytes_sent {
            record.bytes_received = record.bytes_received.max(received);
            record.bytes_sent = record.bytes_sent.max(sent);
            self.is_dirty = true;
        }
        let total = self.total();
        if let Some(limits) = &mut self.limits
            && limits.idle.is_some_and(|idle| total.saturating_sub(limits.quiet_from) >= idle.bytes)
        {
            limits.quiet_since = now.mono;
            limits.quiet_from = total;
        }
        growth
    }

    /// Notes the counters at each midnight that has passed. What a count brings that comes across
    /// midnight belongs to the new day.
    pub(super) fn mark_days(&mut self, now: Timestamp) {
        if now < self.day_ends {
            return;
        }
        self.day_ends = note_midnights(&mut self.record, self.zone, self.day_ends, now);
        self.day_ends = self.day_ends.max(self.zone.next_day(now));
        self.is_dirty = true;
    }

    /// How late a deadline is met.
    pub(super) fn lateness(&self, now: Now) -> Duration {
        self.deadline.map_or(Duration::ZERO, |at| now.mono - at.into())
    }

    /// Whether its deadline is over.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.deadline.is_some_and(|at| Mono::from(at) <= now)
    }
}

/// Notes the counters of a session that nobody watches any more at each midnight until then.
pub(super) fn note_days(record: &mut SessionRecord, zone: Zone, until: Timestamp) {
    let first = zone.next_day(last_day(record));
    note_midnights(record, zone, first, until);
}

/// Notes the counters at the midnight `next` and those after it that have come by `now`; the one
/// after them.
fn note_midnights(
    record: &mut SessionRecord,
    zone: Zone,
    mut next: Timestamp,
    now: Timestamp,
) -> Timestamp {
    for _ in 0..=DayMarks::MOST {
        if now < next {
            break;
        }
        let (bytes_received, bytes_sent) = (record.bytes_received, record.bytes_sent);
        record.day_marks.push(DayMark { at: next, bytes_received, bytes_sent });
        next = zone.next_day(next);
    }
    next
}

/// The midnight that was noted last, or the start.
fn last_day(record: &SessionRecord) -> Timestamp {
    record.day_marks.iter().last().map_or(record.started_at, |mark| mark.at)
}
