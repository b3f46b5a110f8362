//! The rules, and whether the table keeps them: pure. docs/reliability.md says them in words.
//!
//! What differs is either accepted, under a name by which it is counted, or a finding.

mod log;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    log::Log,
    record::{End, Instance, Link, Millis, flow},
    rows::{Row, Used},
};
use crate::{population::user, stand_in::HAND_WINDOW};

/// How far the table's times may be from the record's.
pub const SECOND: Millis = 1_000;
/// How long a row may take to the database while that is there, and a line from one process to
/// the other.
pub const MOMENT: Millis = 500;
/// After so long with its link and its database a daemon knows who is in, whatever comes then.
pub const COMPARE: Millis = 2_000;
/// How long a change may be in memory only, the database being away: two seconds until rows go to the
/// journal, `database.timeout_ms` for the attempt before that (docs/operations.md), and a moment.
pub const MEMORY: Millis = 8_000;
/// With several hosts an attempt goes on on the next one: given up there, connected here, asked here.
pub const MEMORY_OF_SEVERAL: Millis = MEMORY + 2 * 5_000;
/// `auth.timeout_ms` of the defaults.
const AUTH_TIMEOUT: Millis = 8_000;
/// Nothing is stopped for longer.
const LONGEST_STALL: Millis = 10_000;

/// From a moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Millis,
    pub until: Millis,
}

impl Span {
    const fn has(self, at: Millis) -> bool {
        self.from <= at && at <= self.until
    }

    pub(super) fn within(self, other: Self) -> Millis {
        (self.until.min(other.until) - self.from.max(other.from)).max(0)
    }
}

/// Everything that was written down.
#[derive(Debug, Default)]
pub struct Evidence {
    pub instances: Vec<Instance>,
    pub links: Vec<Link>,
    /// When each daemon process was there.
    pub daemons: Vec<Span>,
    /// When the database was away.
    pub outages: Vec<Span>,
    /// When the machine or the daemon stood still.
    pub stalls: Vec<Span>,
    /// When a server did.
    pub frozen: Vec<(u32, Span)>,
    pub rows: Vec<Row>,
    pub usage: HashMap<String, Used>,
    pub log: Log,
    /// `session.accounting_interval_s`; byte counts come as often.
    pub accounting: Millis,
    /// The limit of those whose sessions are short; of others that of the defaults.
    pub limits: HashMap<usize, Millis>,
    pub limit: Millis,
    /// [`MEMORY`] or [`MEMORY_OF_SEVERAL`].
    pub memory: Millis,
}

#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<String>,
    /// Differences that are explained, by the explanation.
    pub accepted: BTreeMap<&'static str, usize>,
    /// The largest of each kind, in milliseconds.
    pub largest: BTreeMap<&'static str, Millis>,
    /// How sessions ended and what their rows say.
    pub causes: BTreeMap<(&'static str, String), usize>,
    pub sessions: usize,
    pub exact: usize,
    pub deadlines: usize,
    /// Of the log.
    pub lines: usize,
}

impl Verdict {
    fn find(&mut self, text: String) {
        self.findings.push(text);
    }

    fn accept(&mut self, why: &'static str, size: Millis) {
        *self.accepted.entry(why).or_default() += 1;
        self.measure(why, size);
    }

    fn measure(&mut self, what: &'static str, size: Millis) {
        let largest = self.largest.entry(what).or_default();
        *largest = size.max(*largest);
    }
}

impl Evidence {
    /// When the daemon that was there then died.
    fn death(&self, at: Millis) -> Millis {
        let daemons = self.daemons.iter();
        daemons.filter(|daemon| daemon.has(at)).map(|daemon| daemon.until).min().unwrap_or(at)
    }

    /// For how long of that time the machine, the daemon or that server stood still.
    fn stalled(&self, server: Option<u32>, span: Span) -> Millis {
        let machine = self.stalls.iter();
        let frozen = self.frozen.iter().filter(|(of, _)| Some(*of) == server);
        machine.chain(frozen.map(|(_, stall)| stall)).map(|stall| stall.within(span)).sum()
    }

    /// For how long something stood still around then.
    fn slack(&self, server: Option<u32>, at: Millis) -> Millis {
        self.stalled(server, Span { from: at - LONGEST_STALL, until: at + LONGEST_STALL })
    }
}

/// The rows of each session, or of what might have become one.
type Matched<'a> = HashMap<*const Instance, Vec<&'a Row>>;

/// Compares the table and the log with the record, and with each other.
pub fn judge(evidence: &Evidence) -> Verdict {
    let (mut verdict, rows) = judge_table(evidence);
    log::judge(evidence, &rows, &mut verdict);
    verdict
}

/// Compares the table with the record; which row is of which session.
fn judge_table(evidence: &Evidence) -> (Verdict, Matched<'_>) {
    let mut verdict = Verdict::default();
    let mut of_key: HashMap<_, Vec<&Instance>> = HashMap::new();
    for instance in &evidence.instances {
        of_key.entry((instance.server, instance.run, instance.cid)).or_default().push(instance);
    }
    // A row belongs to the instance of its ids that came last before it began.
    let mut rows = Matched::new();
    for row in &evidence.rows {
        let same = of_key.get(&(row.server, row.run, row.cid)).into_iter().flatten();
        let its = same
            .filter(|instance| user(instance.number) == row.user)
            .filter(|instance| instance.asked <= row.started + SECOND)
            .max_by_key(|instance| instance.asked);
        match its {
            Some(instance) => rows.entry(std::ptr::from_ref(instance)).or_default().push(row),
            None => verdict.find(format!("a row without a session: {row:?}")),
        }
    }
    for instance in &evidence.instances {
        let its = rows.get(&std::ptr::from_ref(instance)).map_or(&[][..], Vec::as_slice);
        let case = Case { evidence, instance };
        case.judge_unanswered(&mut verdict);
        match (instance.admitted, its) {
            (None, []) => {}
            (None, [row]) => case.judge_unread(row, &mut verdict),
            (Some(_), []) => case.judge_missing(&mut verdict),
            (Some(admitted), [row]) => case.judge(admitted, row, &mut verdict),
            (_, several) => {
                verdict.find(format!("{} rows of one session: {several:?}", several.len()))
            }
        }
    }
    judge_usage(evidence, &mut verdict);
    (verdict, rows)
}

/// What closed rows add up to is what quotas count.
fn judge_usage(evidence: &Evidence, verdict: &mut Verdict) {
    let mut sums: HashMap<&str, Used> = HashMap::new();
    for row in &evidence.rows {
        let Some(ended) = row.ended else { continue };
        let (time, received, sent) = sums.entry(&row.user).or_default();
        *time += ended - row.started;
        *received += row.bytes.0;
        *sent += row.bytes.1;
    }
    let names: HashSet<&str> =
        sums.keys().copied().chain(evidence.usage.keys().map(String::as_str)).collect();
    for name in names {
        let (rows, used) = (sums.get(name).copied(), evidence.usage.get(name).copied());
        if rows.unwrap_or_default() != used.unwrap_or_default() {
            verdict.find(format!("{name}: closed rows {rows:?}, usage_periods {used:?}"));
        }
    }
}

/// A session, or what might have become one.
struct Case<'a> {
    evidence: &'a Evidence,
    instance: &'a Instance,
}

/// A link that had to know of the session, or had what it takes to find out: the database.
#[derive(Debug, Clone)]
struct Watch {
    span: Span,
    /// Outages in it before it had compared: until then it knows nobody.
    blind: Vec<Span>,
    /// When it certainly knew.
    known: Millis,
    /// Of a daemon that did not know of it before.
    is_new: bool,
}

impl Watch {
    const fn over(span: Span) -> Self {
        Self { span, blind: Vec::new(), known: span.from, is_new: true }
    }

    fn sees(&self, over: Span) -> Millis {
        let blind: Millis = self.blind.iter().map(|outage| outage.within(over)).sum();
        self.span.within(over) - blind
    }
}

impl Case<'_> {
    fn gone(&self) -> (Millis, Option<End>) {
        self.instance.ended.map_or((Millis::MAX, None), |(at, why)| (at, Some(why)))
    }

    /// The times in which a daemon was linked to the server.
    fn watches(&self, admitted: Millis) -> Vec<Watch> {
        let (gone, _) = self.gone();
        let mut found = Vec::new();
        let mut known_to = None;
        for link in self.evidence.links.iter().filter(|link| link.server == self.instance.server) {
            let until = link.until.unwrap_or(Millis::MAX);
            if until < admitted || link.from > gone {
                continue;
            }
            let daemon = self.evidence.death(link.from);
            let mut watch = Watch::over(Span { from: link.from.max(admitted), until });
            watch.is_new = known_to != Some(daemon);
            if link.from > admitted && watch.is_new {
                self.compare(&mut watch);
            }
            if watch.known <= until {
                known_to = Some(daemon);
            }
            found.push(watch);
        }
        found
    }

    /// A daemon that does not know of it compares, as far as the database lets it.
    fn compare(&self, watch: &mut Watch) {
        let Span { from, until } = watch.span;
        let slack = self.stalled(Span { from, until: until.min(from + COMPARE + LONGEST_STALL) });
        watch.known = from + COMPARE + slack;
        let mut outages = self.evidence.outages.clone();
        outages.sort_by_key(|outage| outage.from);
        for outage in outages {
            let away = Span { from: outage.from.max(from), until: outage.until.min(until) };
            if away.from < away.until && away.from <= watch.known {
                watch.blind.push(away);
                // What it had begun, it begins again.
                let again = Span { from: away.until, until: away.until + COMPARE + LONGEST_STALL };
                watch.known = away.until + COMPARE + self.stalled(again);
            }
        }
    }

    fn stalled(&self, span: Span) -> Millis {
        self.evidence.stalled(Some(self.instance.server), span)
    }

    /// Whether the connection ended right after that moment, or before, since the client had asked.
    fn is_link_lost(&self, at: Millis) -> bool {
        self.evidence.links.iter().any(|link| {
            let until = link.until.unwrap_or(Millis::MAX);
            // A server that stands still reads its approval late, or never.
            let slack = SECOND + self.stalled(Span { from: at, until });
            let is_its = link.server == self.instance.server && self.instance.asked <= until;
            is_its && until <= at.saturating_add(slack)
        })
    }

    /// Whether a change of that moment reached the disk before its daemon died.
    fn is_kept(&self, at: Millis) -> bool {
        let death = self.evidence.death(at);
        let outages = self.evidence.outages.iter();
        let mut near = outages.filter(|outage| {
            outage.from <= at + MOMENT && at <= outage.until + self.evidence.memory
        });
        death - at - self.stalled(Span { from: at, until: death })
            > if near.any(|_| true) { self.evidence.memory } else { MOMENT }
    }

    /// Every question is answered in time, unless it was lost with a connection, or asked when there was none.
    fn judge_unanswered(&self, verdict: &mut Verdict) {
        let (gone, Some(End::Unanswered)) = self.gone() else { return };
        let window = Millis::try_from(HAND_WINDOW.as_millis()).unwrap_or(Millis::MAX);
        // A server that stands still removes it late.
        let asked = gone - window - self.stalled(Span { from: gone - window, until: gone });
        let lived_on = self.evidence.links.iter().any(|link| {
            link.server == self.instance.server
                && link.from <= asked - SECOND
                && link.until.is_none_or(|until| until >= gone)
        });
        // Stopped for 9 s, and then its own time-out.
        let is_late = self.stalled(Span { from: asked, until: gone }) + AUTH_TIMEOUT > window;
        if lived_on && is_late {
            verdict.accept("unanswered_machine_stood_still", 0);
        } else if lived_on {
            verdict.find(format!("was not answered: {:?}", self.instance));
        } else {
            verdict.accept("question_lost_with_the_connection", 0);
        }
    }

    /// A row of a client that never was in.
    fn judge_unread(&self, row: &Row, verdict: &mut Verdict) {
        let (gone, why) = self.gone();
        if row.ended.is_none() {
            verdict.find(format!("stays open: {row:?}"));
        } else if self.is_link_lost(row.started) {
            verdict.accept("approval_lost_with_the_connection", 0);
        } else if gone <= row.started + SECOND {
            verdict.accept("left_before_its_approval", 0);
        } else {
            verdict.find(format!("a row without a session ({why:?}): {row:?}"));
        }
    }

    /// A session without a row: there is none, because what is approved is on disk before OpenVPN
    /// hears of it.
    fn judge_missing(&self, verdict: &mut Verdict) {
        verdict.sessions += 1;
        verdict.find(format!("a session without a row: {:?}", self.instance));
    }

    fn judge(&self, admitted: Millis, row: &Row, verdict: &mut Verdict) {
        verdict.sessions += 1;
        let (gone, why) = self.gone();
        let Some((why, ended)) = why.zip(row.ended) else {
            verdict.find(format!("stays open: {row:?}, {:?}", self.instance));
            return;
        };
        if row.state != "closed" {
            verdict.find(format!("has ended and is not closed: {row:?}"));
        }
        *verdict.causes.entry((why.word(), row.cause.clone())).or_default() += 1;
        self.judge_start(admitted, row, verdict);
        self.judge_deadline(admitted, row, verdict);
        self.judge_end(admitted, row, (gone, why), ended, verdict);
    }

    fn judge_start(&self, admitted: Millis, row: &Row, verdict: &mut Verdict) {
        let (early, late) = (admitted - row.started, row.started - admitted);
        if late > SECOND {
            verdict.find(format!("begins {late} ms late: {row:?}, {:?}", self.instance));
        } else if early > SECOND {
            // Its time counts from when OpenVPN says that it came, in whole seconds.
            verdict.accept("adopted_counts_from_its_connection", early);
        }
        let limit = self.evidence.limits.get(&self.instance.number).unwrap_or(&self.evidence.limit);
        let off = row.deadline.map(|deadline| (deadline - row.started - limit).abs());
        if off.is_none_or(|off| off > SECOND) {
            verdict.find(format!("a deadline {off:?} ms off: {row:?}"));
        }
    }

    /// Nobody is in for more than a second past the deadline in which a daemon was there.
    fn judge_deadline(&self, admitted: Millis, row: &Row, verdict: &mut Verdict) {
        let Some(deadline) = row.deadline else { return };
        let (gone, why) = self.gone();
        let out = self.instance.killed.unwrap_or(Millis::MAX).min(gone);
        if self.instance.killed.is_some_and(|killed| killed < deadline) {
            verdict.find(format!("killed before its time: {row:?}, {:?}", self.instance));
        }
        if out <= deadline {
            return;
        }
        verdict.deadlines += 1;
        let over = Span { from: deadline, until: out };
        let watches = self.watches(admitted);
        let watched: Millis = watches.iter().map(|watch| watch.sees(over)).sum();
        let late = watched - self.stalled(over).min(watched);
        verdict.measure("watched_past_deadline", late);
        if late > SECOND {
            verdict.find(format!(
                "{late} ms past its deadline while a daemon was there: {row:?}, {:?}, {watches:?}",
                self.instance
            ));
        } else if watched > SECOND {
            verdict.accept("past_deadline_machine_stood_still", watched);
        } else if out - deadline > SECOND {
            let is_blind = |watch: &Watch| watch.blind.iter().any(|away| away.within(over) > 0);
            let name = match (why, watches.iter().any(is_blind)) {
                (Some(End::TimedOut), _) => "past_deadline_until_openvpns_session_timeout",
                (_, true) => "past_deadline_daemon_began_without_database",
                (_, false) => "past_deadline_no_daemon",
            };
            verdict.accept(name, out - deadline);
        }
    }

    fn judge_end(
        &self,
        admitted: Millis,
        row: &Row,
        (gone, why): (Millis, End),
        ended: Millis,
        verdict: &mut Verdict,
    ) {
        let Evidence { accounting, .. } = *self.evidence;
        let watches = self.watches(admitted);
        let watch = watches.iter().rfind(|watch| watch.span.from <= gone);
        // Sure to know of it: since its login, or after the comparison.
        let knows = |watch: &&Watch| watch.known <= watch.span.until.min(gone);
        let is_compared = watch.as_ref().is_some_and(knows);
        let is_watched = watch.is_some_and(|watch| gone <= watch.span.until);
        let is_heard = watch.is_some_and(|watch| {
            let until = watch.span.until.min(gone + MOMENT + LONGEST_STALL);
            until - gone - self.stalled(Span { from: gone, until }) >= MOMENT
        });
        let is_seen = is_compared
            && if why == End::ServerDied {
                // When the connection broke is stored with the next accounting.
                is_watched
                    && self.is_kept(gone)
                    && self.evidence.death(gone) - gone > accounting + MOMENT
            } else {
                is_heard && self.is_kept(gone)
            };
        let known = watches.iter().rfind(|watch| watch.span.from <= gone && knows(watch));
        let seen_until = known.map_or(admitted, |watch| watch.span.until.min(gone));
        let off = (ended - gone).abs();
        let late =
            off - self.stalled(Span { from: gone.min(ended), until: gone.max(ended) }).min(off);

        // The oldest that the row may be: what was stored last.
        let from = seen_until.min(self.forgotten_since(admitted, gone));
        let least =
            |due: Millis| due - self.stalled(Span { from: due - LONGEST_STALL, until: from });
        let oldest = least(from - 2 * accounting - SECOND);
        let oldest_count = least(from - accounting - SECOND);
        let name = match (is_seen, why) {
            (true, _) => "",
            (false, End::ServerDied) if !is_watched => "server_died_without_daemon",
            (false, _) if !is_watched => "ended_without_daemon",
            (false, _) if !is_compared => "ended_while_a_new_daemon_compared",
            (false, _) => "daemon_killed_before_the_end_was_stored",
        };
        if late <= SECOND {
            verdict.measure("end_off", late);
        } else if is_seen || ended > gone + SECOND || ended < oldest {
            verdict.find(format!(
                "its row ends {} ms {} ({name}): {row:?}, {:?}, {watches:?}",
                off,
                if ended > gone { "late" } else { "early" },
                self.instance
            ));
        } else {
            verdict.accept(name, off);
        }
        verdict.exact += usize::from(late <= SECOND);
        self.judge_bytes(row, (gone, why), is_seen, oldest_count, verdict, admitted);
    }

    /// The start of an outage in which what was known of it may have been lost with its daemon.
    fn forgotten_since(&self, admitted: Millis, gone: Millis) -> Millis {
        let daemons = self.evidence.daemons.iter();
        let deaths = daemons
            .map(|daemon| daemon.until)
            .filter(|death| (admitted..=gone.saturating_add(self.evidence.memory)).contains(death));
        deaths
            .filter_map(|death| {
                self.evidence
                    .outages
                    .iter()
                    .filter(|outage| {
                        outage.from <= death && death <= outage.until + self.evidence.memory
                    })
                    .map(|outage| outage.from.max(death - self.evidence.memory))
                    .min()
            })
            .max()
            .unwrap_or(Millis::MAX)
    }

    fn judge_bytes(
        &self,
        row: &Row,
        (gone, why): (Millis, End),
        is_seen: bool,
        oldest: Millis,
        verdict: &mut Verdict,
        admitted: Millis,
    ) {
        let interval = self.evidence.accounting;
        let most = flow(gone - admitted);
        let since = if is_seen && why != End::ServerDied {
            // The end is recorded with the moment of the last line's counts.
            gone
        } else if is_seen {
            gone - interval - SECOND
        } else {
            oldest
        };
        let least = if since <= admitted { (0, 0) } else { flow(since - admitted) };
        let is_right =
            (least.0..=most.0).contains(&row.bytes.0) && (least.1..=most.1).contains(&row.bytes.1);
        // From the client a byte flows each millisecond.
        let behind = Millis::try_from(most.0.saturating_sub(row.bytes.0)).unwrap_or(Millis::MAX);
        // A server that stands still counts nothing, and may be killed right after.
        let stalled = self.stalled(Span { from: oldest - LONGEST_STALL, until: gone });
        let is_excused = row.bytes.0 <= most.0 && stalled > 0 && behind - stalled <= gone - since;
        if !is_right && !is_excused {
            verdict.find(format!(
                "bytes of {behind} ms are missing: {row:?}, between {least:?} and {most:?}, {:?}",
                self.instance
            ));
        } else if behind > 0 {
            verdict.measure("bytes_behind_ms", behind);
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
