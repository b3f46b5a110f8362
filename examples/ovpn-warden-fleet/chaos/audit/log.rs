//! Whether the log says the same as the table and the record: every client's answer, session, kill and end has its
//! line, and no line says what neither of the others knows.
//!
//! Lines may be missing where a daemon was killed right after what they tell: they go out by a thread of their own.

use std::{
    collections::{BTreeMap, HashMap},
    ptr,
};

use super::{Case, Evidence, LONGEST_STALL, MOMENT, Matched, SECOND, Span, Verdict, Watch};
use crate::chaos::{
    log::{Change, Line, What},
    record::{End, Instance, Link, Millis},
    rows::Row,
};
use crate::stand_in::HAND_WINDOW;

/// Between a timer's moment and the clock's: how much sooner than its deadline a session may be told to be over.
const ROUNDING: Millis = 5;

/// The lines about one client.
#[derive(Debug, Default)]
struct Told<'a> {
    allowed: Vec<&'a Line>,
    denied: Vec<&'a Line>,
    known: Vec<&'a Line>,
    expired: Vec<&'a Line>,
    killed: Vec<&'a Line>,
    closed: Vec<&'a Line>,
}

impl<'a> Told<'a> {
    fn take(&mut self, line: &'a Line) {
        let lines = match line.what {
            What::Allowed { .. } => &mut self.allowed,
            What::Denied { .. } => &mut self.denied,
            What::Known => &mut self.known,
            What::Expired => &mut self.expired,
            What::Killed => &mut self.killed,
            What::Closed { .. } => &mut self.closed,
        };
        lines.push(line);
    }
}

/// What came of it.
struct Findings<'a> {
    verdict: &'a mut Verdict,
}

impl Findings<'_> {
    fn find(&mut self, text: String) {
        self.verdict.find(format!("log: {text}"));
    }

    /// A line is not there; `is_told`: it had the time to be written.
    fn miss(&mut self, is_told: bool, text: impl FnOnce() -> String) {
        if is_told {
            self.find(text());
        } else {
            self.verdict.accept("daemon_killed_before_its_line_was_written", 0);
        }
    }
}

/// Compares the log with the record, and with the rows that belong to it.
pub(super) fn judge(evidence: &Evidence, rows: &Matched<'_>, verdict: &mut Verdict) {
    let log = &evidence.log;
    let mut findings = Findings { verdict };
    let mut told = assign(evidence, rows, &mut findings);
    for instance in &evidence.instances {
        let case = Case { evidence, instance };
        let told = told.remove(&ptr::from_ref(instance)).unwrap_or_default();
        let row = rows.get(&ptr::from_ref(instance)).and_then(|its| its.first().copied());
        case.judge_answer(&told, row, &mut findings);
        case.judge_known(&told, row, &mut findings);
        case.judge_kill(&told, row, &mut findings);
        case.judge_closed(&told, row, &mut findings);
    }
    judge_changes(evidence, &mut findings);
    // A file is always written fast enough.
    if log.dropped > 0 {
        findings.find(format!("{} lines were dropped", log.dropped));
    }
    // Of each daemon that was killed one line may be cut off.
    if log.broken >= evidence.daemons.len().max(1) {
        findings.find(format!("{} lines are none", log.broken));
    }
    verdict.lines = log.count;
}

/// To each client its lines: by the session's id where its row has that, else it is the last one before of that name.
fn assign<'a>(
    evidence: &'a Evidence,
    rows: &Matched<'_>,
    findings: &mut Findings<'_>,
) -> HashMap<*const Instance, Told<'a>> {
    let mut of_session = HashMap::new();
    let mut of_name: HashMap<_, BTreeMap<Millis, _>> = HashMap::new();
    for instance in &evidence.instances {
        let name = (instance.server, instance.cid, instance.number);
        let its = (ptr::from_ref(instance), name);
        of_name.entry(name).or_default().insert(instance.asked, its);
        let rows = rows.get(&its.0).into_iter().flatten();
        of_session.extend(rows.map(|row| (row.id, its)));
    }
    let mut told: HashMap<_, Told<'a>> = HashMap::new();
    for line in &evidence.log.lines {
        let of_its_session = line.session.and_then(|id| of_session.get(&id));
        if line.session.is_some() && of_its_session.is_none() {
            findings.find(format!("of a session that is not in the table: {line:?}"));
            continue;
        }
        let name = (line.server, line.cid, line.number);
        let of_its_name = || {
            let mut before = of_name.get(&name)?.range(..=line.at + SECOND);
            before.next_back().map(|(_, instance)| instance)
        };
        match of_its_session.or_else(of_its_name) {
            Some((instance, its)) if *its == name => told.entry(*instance).or_default().take(line),
            Some(_) => findings.find(format!("of a session of somebody else: {line:?}")),
            None => findings.find(format!("of a client that never was: {line:?}")),
        }
    }
    told
}

impl Evidence {
    /// Whether a line of that moment was written before its daemon died.
    fn is_told(&self, server: u32, at: Millis) -> bool {
        let until = self.death(at);
        until - at - self.stalled(Some(server), Span { from: at, until }) > MOMENT
    }
}

impl Case<'_> {
    /// Whether both are of one moment.
    fn is_near(&self, one: Millis, other: Millis) -> bool {
        let span = Span { from: one.min(other), until: one.max(other) };
        span.until - span.from - self.stalled(span) <= SECOND
    }

    /// Whether a line of that moment was written before its daemon died.
    fn is_told(&self, at: Millis) -> bool {
        self.evidence.is_told(self.instance.server, at)
    }

    /// Whether a command of that moment may never have been read, or came too late.
    fn may_be_lost(&self, at: Millis) -> bool {
        let (gone, _) = self.gone();
        gone <= at
            || self.is_near(at, gone)
            || self.evidence.links.iter().any(|link| {
                let until = link.until.unwrap_or(Millis::MAX);
                link.server == self.instance.server
                    && until >= at - SECOND
                    && self.is_near(at, until.max(at))
            })
    }

    fn judge_answer(&self, told: &Told<'_>, row: Option<&Row>, findings: &mut Findings<'_>) {
        let Told { allowed, denied, .. } = told;
        let instance = self.instance;
        let (gone, why) = self.gone();
        if let [_, _, ..] = allowed[..] {
            findings.find(format!("let in twice: {allowed:?}"));
        }
        if let [_, _, ..] = denied[..] {
            findings.find(format!("denied twice: {denied:?}"));
        }
        match (instance.admitted, why) {
            (Some(admitted), _) => {
                if !denied.is_empty() {
                    findings.find(format!("denies who is in: {denied:?}, {instance:?}"));
                }
                match (allowed.first(), row) {
                    (None, _) => findings.miss(self.is_told(admitted), || {
                        format!("does not say that it was let in: {instance:?}")
                    }),
                    (Some(line), Some(row)) => self.judge_allowed(line, admitted, row, findings),
                    (Some(_), None) => {}
                }
            }
            (None, Some(End::Denied | End::Postponed)) => {
                if !allowed.is_empty() {
                    findings.find(format!("lets in who was denied: {allowed:?}, {instance:?}"));
                }
                let Some(line) = denied.first() else {
                    return findings.miss(self.is_told(gone), || {
                        format!("does not say that it was denied: {instance:?}")
                    });
                };
                let is_temporary = why == Some(End::Postponed);
                if line.what != (What::Denied { is_temporary }) || !self.is_near(line.at, gone) {
                    findings.find(format!("denies otherwise: {line:?}, {instance:?}"));
                }
                if is_temporary && !self.has_reason(line.at) {
                    findings.find(format!("denies for a moment, and nothing was wrong: {line:?}"));
                }
            }
            (None, _) => {
                for line in allowed.iter().chain(denied) {
                    if !self.may_be_lost(line.at) {
                        findings.find(format!("an answer that nobody got: {line:?}, {instance:?}"));
                    } else if !allowed.is_empty() && row.is_none() {
                        findings.find(format!("lets in without a row: {line:?}, {instance:?}"));
                    } else {
                        findings.verdict.accept("answer_lost_with_the_connection_or_too_late", 0);
                    }
                }
            }
        }
    }

    fn judge_allowed(&self, line: &Line, admitted: Millis, row: &Row, findings: &mut Findings<'_>) {
        let deadline = row.deadline;
        if line.session != Some(row.id) || line.what != (What::Allowed { deadline }) {
            findings.find(format!("lets in otherwise than its row: {line:?}, {row:?}"));
        }
        if !self.is_near(line.at, admitted) {
            findings.find(format!("lets in at another time: {line:?}, {:?}", self.instance));
        }
    }

    /// Every daemon that was there for long enough has told of it once it knew.
    fn judge_known(&self, told: &Told<'_>, row: Option<&Row>, findings: &mut Findings<'_>) {
        let Some(admitted) = self.instance.admitted else {
            // Whose approval was lost waits on, and the next daemon finds it in the list beside its row.
            let has_row = row.is_some_and(|row| self.is_link_lost(row.started));
            let is_odd = |line: &&&Line| !has_row && !self.may_be_lost(line.at);
            for line in told.known.iter().filter(is_odd) {
                findings.find(format!("in who never was: {line:?}, {:?}", self.instance));
            }
            return;
        };
        let (gone, _) = self.gone();
        for Watch { span, known, is_new, .. } in self.watches(admitted) {
            let end = span.until.min(gone);
            let slack = self.stalled(Span { from: known, until: end });
            if !is_new || end - known - slack <= SECOND {
                continue;
            }
            let is_its = |line: &&Line| span.from - SECOND <= line.at && line.at <= end;
            if !told.known.iter().copied().any(|line| is_its(&line)) {
                findings.miss(self.is_told(known), || {
                    format!("does not say that it is in, from {known} on: {:?}", self.instance)
                });
            }
        }
    }

    fn judge_kill(&self, told: &Told<'_>, row: Option<&Row>, findings: &mut Findings<'_>) {
        let killed = self.instance.killed;
        if let Some(killed) = killed
            && !told.killed.iter().any(|line| self.is_near(line.at, killed))
        {
            findings.miss(self.is_told(killed), || {
                format!("does not say that it was killed: {:?}", self.instance)
            });
        }
        for line in &told.killed {
            let is_its = |killed: Millis| line.at >= killed || self.is_near(line.at, killed);
            if !killed.is_some_and(is_its) {
                if self.may_be_lost(line.at) {
                    findings.verdict.accept("kill_lost_with_the_connection_or_too_late", 0);
                } else {
                    findings.find(format!("a kill that nobody got: {line:?}, {:?}", self.instance));
                }
            }
        }
        let deadline = row.and_then(|row| row.deadline);
        for line in &told.expired {
            if deadline.is_none_or(|deadline| line.at + ROUNDING < deadline) {
                findings.find(format!("over before its time: {line:?}, {row:?}"));
            }
        }
        if let (Some(killed), Some(deadline)) = (killed, deadline)
            && row.is_some_and(|row| row.cause == "session_limit")
            && told.expired.is_empty()
        {
            // Who continues what another one had begun does not tell it again.
            let has_died = |daemon: &Span| deadline <= daemon.until && daemon.until <= killed;
            let is_told = self.is_told(killed) && !self.evidence.daemons.iter().any(has_died);
            findings.miss(is_told, || {
                format!("does not say that its time was over: {:?}", self.instance)
            });
        }
    }

    fn judge_closed(&self, told: &Told<'_>, row: Option<&Row>, findings: &mut Findings<'_>) {
        let closed = &told.closed;
        // A line of an end has a session, whose row is looked for where lines find their clients.
        let Some((row, ended)) = row.and_then(|row| Some((row, row.ended?))) else { return };
        if closed.is_empty() {
            return findings.miss(!self.may_be_closed_untold(), || {
                format!("does not say that it was closed: {row:?}, {:?}", self.instance)
            });
        }
        for pair in closed.windows(2) {
            // What a daemon that was killed had not stored, its successor does again.
            let has_died = |daemon: &Span| pair[0].at <= daemon.until && daemon.until <= pair[1].at;
            if self.evidence.daemons.iter().any(has_died) {
                findings.verdict.accept("closed_again_by_its_successor", 0);
            } else {
                findings.find(format!("closed twice by one daemon: {pair:?}"));
            }
        }
        let seconds = (ended - row.started) / 1_000;
        let wanted = What::Closed { cause: row.cause.clone(), seconds, bytes: row.bytes };
        if closed.iter().all(|line| line.what != wanted) {
            findings.find(format!("closes it otherwise than its row: {closed:?}, {row:?}"));
        }
        let (gone, _) = self.gone();
        for line in closed {
            if self.instance.admitted.is_some() && line.at < gone && !self.is_near(line.at, gone) {
                findings.find(format!("closes who is in: {line:?}, {:?}", self.instance));
            }
        }
    }

    /// Whether a daemon may have closed it and died before its line was written: right after the end, or right after it had
    /// compared. The first one that had the time to do both has done so.
    fn may_be_closed_untold(&self) -> bool {
        let (gone, _) = self.gone();
        let links = self.evidence.links.iter().filter(|link| {
            link.server == self.instance.server && link.until.is_none_or(|until| until >= gone)
        });
        for link in links {
            let until = link.until.unwrap_or(Millis::MAX);
            let mut watch = Watch::over(Span { from: link.from, until });
            self.compare(&mut watch);
            let closing = watch.known.max(gone);
            let death = self.evidence.death(link.from);
            let slack = self.stalled(Span { from: closing, until: death });
            if death - slack <= closing + SECOND {
                return true;
            }
            if watch.known <= until {
                return false;
            }
        }
        false
    }

    /// Whether it is told to come again because of a fault: of the database, of the machine, of its connection.
    fn has_reason(&self, at: Millis) -> bool {
        let near = Span { from: at - LONGEST_STALL, until: at };
        let is_away =
            |outage: &Span| outage.from <= at && at <= outage.until + self.evidence.memory;
        let is_new = |link: &Link| {
            // Clients may ask as soon as there is one, before it is set up.
            let from = at - HAND_WINDOW.as_millis() as Millis;
            let span = Span { from, until: at + SECOND };
            link.server == self.instance.server && span.has(link.from)
        };
        self.evidence.outages.iter().any(is_away)
            || self.stalled(near) > 0
            || self.evidence.links.iter().any(is_new)
    }
}

/// Links, the database and the daemons themselves.
fn judge_changes(evidence: &Evidence, findings: &mut Findings<'_>) {
    let has = |wanted: Change, from: Millis, until: Millis| {
        let is_it = |(at, change): &(Millis, Change)| {
            *change == wanted && from - SECOND <= *at && *at <= until + SECOND
        };
        evidence.log.changes.iter().any(is_it)
    };
    for link in &evidence.links {
        let server = link.server;
        let until = link.until.unwrap_or(Millis::MAX);
        let slack = |at: Millis| evidence.slack(Some(server), at);
        if until - link.from > SECOND
            && !has(Change::Linked(server), link.from, link.from + slack(link.from))
        {
            findings.miss(evidence.is_told(server, link.from), || format!("no link.up: {link:?}"));
        }
        // What ends with its daemon, ends without a word; a server that stands still then sees it later.
        let is_end_of_daemon = |until: Millis| {
            let ends = evidence.daemons.iter().map(|daemon| daemon.until);
            let mut ends = ends.filter(|end| link.from <= *end && *end <= until);
            ends.any(|end| {
                let stalled = evidence.stalled(Some(server), Span { from: end, until });
                until - end - stalled <= SECOND
            })
        };
        let is_due = |until: &Millis| {
            until - link.from > SECOND
                && evidence.is_told(server, *until)
                && !is_end_of_daemon(*until)
        };
        let ends = link.until.filter(is_due);
        let tells = |until: Millis| {
            [Change::Unlinked(server), Change::Stopping]
                .into_iter()
                .any(|change| has(change, until - slack(until), until + slack(until)))
        };
        if ends.is_some_and(|until| !tells(until)) {
            findings.miss(true, || format!("no link.lost: {link:?}"));
        }
    }
    for daemon in &evidence.daemons {
        let slack = evidence.slack(None, daemon.from);
        if daemon.until - daemon.from > 2 * SECOND + slack
            && !has(Change::Started, daemon.from, daemon.from + SECOND + slack)
        {
            findings.miss(true, || format!("no daemon.started: {daemon:?}"));
        }
    }
    judge_store(evidence, findings);
}

/// The database is told to be away only when something was done to it, and is there at the end.
fn judge_store(evidence: &Evidence, findings: &mut Findings<'_>) {
    let mut last = None;
    let is_long = |stall: &&Span| stall.until - stall.from >= SECOND;
    for (at, change) in &evidence.log.changes {
        match change {
            Change::StoreDown => {
                let is_of = |span: &Span| {
                    span.from <= *at && *at <= span.until.saturating_add(evidence.memory)
                };
                if evidence.outages.iter().any(is_of) {
                    last = Some(Change::StoreDown);
                } else if evidence.stalls.iter().filter(is_long).any(is_of) {
                    last = Some(Change::StoreDown);
                    findings.verdict.accept("database_away_machine_stood_still", 0);
                } else {
                    findings.find(format!("store.down at {at}, and nothing was done to it"));
                }
            }
            Change::StoreUp => last = Some(Change::StoreUp),
            // What the one before knew of it went with it.
            Change::Started => last = None,
            Change::Stopping | Change::Linked(_) | Change::Unlinked(_) => {}
        }
    }
    if last == Some(Change::StoreDown) {
        findings.find("ends with the database away".into());
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
