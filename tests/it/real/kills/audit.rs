//! The rules, and whether the records keep them.

use ovpn_warden::types::Timestamp;
use serde_json::Value;

use super::{
    ACCOUNTING, BACKSTOP, Fault, crew::Crew, crew::Member, records::Millis, records::Tunnel,
};

/// How far two clocks' notes of one event may be apart: a busy machine, a repeated kill.
const SLACK: Millis = 3_000;
/// How long after a restart of OpenVPN a client may take to see that its tunnel is gone:
/// `keepalive 2 10`, doubled at the server's side.
const PING_RESTART: Millis = 25_000;
/// How long OpenVPN goes on after SIGHUP and SIGUSR1, so that clients hear of it.
const LAST_MOMENT: Millis = 3_000;
/// A daemon that was started needs a moment to attach; OpenVPN serves one client of its port
/// after the other.
const ATTACH: Millis = 5_000;

/// Everything that was written down.
pub struct Evidence {
    pub rows: Value,
    pub events: Vec<Value>,
    /// When OpenVPN removed a client, and its name. It tells no client whose time-out is over.
    pub exits: Vec<(Millis, String)>,
    pub crew: Crew,
    pub faults: Vec<Fault>,
    /// OpenVPN ends sessions too: 2.6 and later.
    pub has_backstop: bool,
    /// Good clients that did not come in after the last fault.
    pub missing: Vec<String>,
    /// Sessions that were still open when everybody had left.
    pub open: Vec<String>,
}

/// What the records show.
#[derive(Default)]
pub struct Verdict {
    pub findings: Vec<String>,
    pub clients: usize,
    pub tunnels: usize,
    pub rows: usize,
    /// Tunnels that a restart of OpenVPN ended.
    pub restarted: usize,
    /// Sessions that their limit ended.
    pub limited: usize,
}

/// A session's row.
struct Row {
    id: String,
    name: String,
    start: Millis,
    end: Option<Millis>,
}

pub fn judge(evidence: &Evidence) -> Verdict {
    let rows: Vec<Row> = evidence.rows.as_array().unwrap().iter().map(row).collect();
    let mut verdict = Verdict { rows: rows.len(), ..Verdict::default() };
    verdict.findings.extend(evidence.missing.iter().map(|name| format!("{name} never came in")));
    verdict.findings.extend(evidence.open.iter().map(|id| format!("session {id} stays open")));
    for event in &evidence.events {
        if event["level"] == "error" || event.is_string() {
            verdict.findings.push(format!("the daemon says: {event}"));
        }
    }
    for member in &evidence.crew.members {
        verdict.clients += 1;
        judge_member(member, &rows, evidence, &mut verdict);
    }
    let names: Vec<&str> = evidence.crew.members.iter().map(|m| m.name.as_str()).collect();
    for row in &rows {
        if row.end.is_none() {
            verdict.findings.push(format!("session {} of {} has no end", row.id, row.name));
        }
        if !names.contains(&row.name.as_str()) {
            verdict.findings.push(format!("session {} of {:?}, who never came", row.id, row.name));
        }
    }
    verdict
}

fn judge_member(member: &Member, rows: &[Row], evidence: &Evidence, verdict: &mut Verdict) {
    let faults = &evidence.faults[..];
    let mut record = member.record();
    for tunnel in &mut record.tunnels {
        let exits = evidence.exits.iter().filter(|(_, name)| *name == member.name);
        let removed = exits.map(|(at, _)| *at).find(|at| *at > tunnel.since);
        let known = tunnel.end.as_ref().map_or(Millis::MAX, |(at, _)| *at);
        if let Some(removed) = removed.filter(|at| *at < known) {
            tunnel.end = Some((removed, "removed by the server".into()));
        }
    }
    let name = &member.name;
    let mut find = |text: String| verdict.findings.push(format!("{name}: {text}"));
    if member.kind.is_bad() {
        if !record.tunnels.is_empty() {
            find(format!("admitted: {:?}", record.tunnels));
        }
        if rows.iter().any(|row| row.name == *name) {
            find("has a session".into());
        }
        return;
    }
    for (at, text) in &record.refusals {
        find(format!("refused at {at}: {text}"));
    }
    let rows: Vec<&Row> = rows.iter().filter(|row| row.name == *name).collect();
    let mut before = 0;
    for tunnel in &record.tunnels {
        let end = tunnel.end.as_ref().map_or(Millis::MAX, |(at, _)| *at).min(member.gone());
        verdict.tunnels += 1;
        // A row begins with the approval, a moment before the tunnel.
        let mut its: Vec<_> = rows
            .iter()
            .filter(|row| (before + 1..=tunnel.since + 1_000).contains(&row.start))
            .filter(|row| row.end.is_none_or(|at| at >= tunnel.since - SLACK))
            .collect();
        before = tunnel.since + 1_000;
        its.sort_by_key(|row| row.start);
        let its_own = its.pop();
        // A login before it that was approved and came to nothing has a row, too.
        let others = its.iter().filter(|row| row.end.is_none_or(|at| at > tunnel.since)).count();
        match its_own {
            Some(row) if others == 0 => judge_row(row, tunnel, end, faults, &mut find),
            _ => find(format!("{} sessions for {tunnel:?}", its.len() + 1)),
        }
        let is_restart = faults.iter().any(|fault| {
            let over = |(start, back): (Millis, Millis)| {
                tunnel.since <= back + LAST_MOMENT
                    && (start - 100..=back + PING_RESTART).contains(&end)
            };
            fault.openvpn.is_some_and(over)
        });
        verdict.restarted += usize::from(is_restart);
        if is_restart || member.left.is_some_and(|left| end >= left) {
            continue;
        }
        let Some(limit) = member.limit else {
            find(format!("dropped: {tunnel:?}"));
            continue;
        };
        verdict.limited += 1;
        if end < tunnel.since + limit - SLACK {
            find(format!("dropped before its limit: {tunnel:?}"));
        }
    }
    if let Some(limit) = member.limit {
        for tunnel in &record.tunnels {
            // With the server's run the tunnel is over, though the client may not know yet.
            let restart = faults.iter().filter_map(|fault| fault.openvpn);
            let restart = restart
                .filter(|(_, back)| *back + LAST_MOMENT >= tunnel.since)
                .map(|(start, _)| start);
            let end = tunnel.end.as_ref().map_or(Millis::MAX, |(at, _)| *at).min(member.gone());
            let end = end.min(restart.min().unwrap_or(Millis::MAX));
            let latest = latest_end(tunnel.since + limit, evidence);
            if end > latest {
                find(format!("overstays by {} ms: {tunnel:?}", end - latest));
            }
        }
    }
}

/// By when a session with that deadline is over: at once, or soon after a daemon is back, or by
/// OpenVPN's own limit.
fn latest_end(deadline: Millis, evidence: &Evidence) -> Millis {
    let backstop = if evidence.has_backstop { BACKSTOP } else { Millis::MAX / 2 };
    let mut latest = deadline + SLACK;
    for fault in &evidence.faults {
        if let Some((start, back)) = fault.daemon
            && start <= latest
            && deadline <= back + ATTACH
        {
            latest = latest.max((back + ATTACH).min(deadline + backstop) + SLACK);
        }
    }
    latest
}

fn judge_row(
    row: &Row,
    tunnel: &Tunnel,
    end: Millis,
    faults: &[Fault],
    find: &mut impl FnMut(String),
) {
    let Some(ended) = row.end else { return };
    // What a daemon that is away cannot see, it learns when it is back; a client that vanished, or
    // a server that was killed, is noticed by time-outs or known by the last byte counts.
    let disturbed = faults.iter().any(|fault| {
        (fault.at() - ACCOUNTING - SLACK..=fault.until() + PING_RESTART).contains(&end)
    });
    let slack = if disturbed { PING_RESTART + ACCOUNTING } else { SLACK + PING_RESTART };
    if ended < end - ACCOUNTING - SLACK && !disturbed {
        find(format!("{tunnel:?} ended at {end}, its session {} at {ended}", row.id));
    }
    if ended > end.saturating_add(slack) {
        find(format!("{tunnel:?} ended at {end}, its session {} only at {ended}", row.id));
    }
}

fn row(value: &Value) -> Row {
    let time = |name: &str| {
        let text = value[name].as_str()?;
        Some(Timestamp::parse(text, Timestamp::default()).unwrap().as_millis())
    };
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Row {
        id: text("id"),
        name: text("common_name"),
        start: time("started_at").unwrap(),
        end: time("ended_at"),
    }
}
