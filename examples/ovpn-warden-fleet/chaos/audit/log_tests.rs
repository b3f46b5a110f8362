//! Each rule finds what it is for, and accepts what is explained.

use std::iter;

use ovpn_warden::types::{SessionId, Timestamp};

use super::*;
use crate::chaos::{
    audit::{judge_table, tests},
    record::flow,
};

const T: Millis = 1_795_435_000_000;
/// The run is over.
const END: Millis = T + 300_000;

fn bytes() -> (u64, u64) {
    flow(20_000)
}

fn line(after: Millis, what: What) -> Line {
    let is_of_row = !matches!(what, What::Denied { .. });
    Line {
        at: T + after,
        server: 0,
        cid: 4,
        number: 1,
        session: is_of_row.then(|| tests::id(1)),
        what,
    }
}

fn allowed() -> Line {
    line(10_001, What::Allowed { deadline: Some(T + 69_995) })
}

fn closed(after: Millis) -> Line {
    line(after, What::Closed { cause: "unknown".into(), seconds: 20, bytes: bytes() })
}

/// A daemon, a link, a client that was in from second 10 to 30; its row and what the log says of all that.
fn bed() -> Evidence {
    let mut bed = tests::bed();
    bed.log.lines = vec![allowed(), line(10_010, What::Known), closed(30_002)];
    bed.log.changes = vec![(T - 900, Change::Started), (T, Change::Linked(0))];
    bed
}

/// Its only daemon is killed then, and another one is there 10 s later; what of the log is from its absence is gone.
fn killed(mut bed: Evidence, after: Millis) -> Evidence {
    let (death, birth) = (T + after, T + after + 10_000);
    bed.links = vec![
        Link { server: 0, from: T, until: Some(death) },
        Link { server: 0, from: birth + 100, until: Some(END) },
    ];
    bed.daemons = vec![Span { from: T - 1_000, until: death }, Span { from: birth, until: END }];
    bed.log.lines.retain(|line| !(death..birth).contains(&line.at));
    bed.log.changes.extend([(birth + 50, Change::Started), (birth + 100, Change::Linked(0))]);
    bed
}

fn judged(evidence: &Evidence) -> Verdict {
    let (_, rows) = judge_table(evidence);
    let mut verdict = Verdict::default();
    judge(evidence, &rows, &mut verdict);
    verdict
}

#[track_caller]
fn finds(evidence: &Evidence, words: &str) {
    let verdict = judged(evidence);
    let is_found = |finding: &String| finding.contains(words);
    assert!(verdict.findings.iter().any(is_found), "no `{words}` in {verdict:#?}");
}

#[track_caller]
fn accepts(evidence: &Evidence, names: &[&str]) {
    let verdict = judged(evidence);
    assert!(verdict.findings.is_empty(), "{verdict:#?}");
    assert_eq!(verdict.accepted.keys().copied().collect::<Vec<_>>(), names);
}

/// With other lines.
fn with(change: impl FnOnce(&mut Vec<Line>)) -> Evidence {
    let mut bed = bed();
    change(&mut bed.log.lines);
    bed
}

/// The client was not let in, and ended so.
fn refused(why: End, lines: impl IntoIterator<Item = Line>) -> Evidence {
    let mut bed = with(|log| *log = lines.into_iter().collect());
    bed.rows.clear();
    bed.instances[0].admitted = None;
    bed.instances[0].ended = Some((T + 10_500, why));
    bed
}

#[test]
fn a_log_that_says_the_same_is_right() {
    accepts(&bed(), &[]);
}

#[test]
fn who_is_let_in_has_one_line_with_the_rows_id_and_deadline() {
    finds(&with(|log| drop(log.remove(0))), "does not say that it was let in");
    finds(&with(|log| log.push(allowed())), "let in twice");
    finds(&with(|log| log[0].what = What::Allowed { deadline: Some(T) }), "otherwise than its row");
    finds(&with(|log| log[0].session = None), "otherwise than its row");
    let other = SessionId::new(Timestamp::from_millis(T), [9; 10]);
    finds(&with(|log| log[1].session = Some(other)), "not in the table");
    finds(&with(|log| log[0].at += 1_500), "at another time");
    finds(&with(|log| log.push(line(9_999, What::Denied { is_temporary: true }))), "denies who is");
    finds(&with(|log| log[1].number = 2), "of somebody else");
    finds(&with(|log| log[0].cid = 5), "of somebody else");
}

#[test]
fn who_is_denied_has_one_line_that_says_whether_for_good() {
    let denied = |is_temporary| line(10_499, What::Denied { is_temporary });
    accepts(&refused(End::Denied, [denied(false)]), &[]);
    let mut postponed = refused(End::Postponed, [denied(true)]);
    accepts(&postponed, &[]);
    // It asked while the connection was set up.
    postponed.links[0].from = T + 10_600;
    postponed.log.changes.push((T + 10_600, Change::Linked(0)));
    accepts(&postponed, &[]);
    postponed.links[0].from = T - 60_000;
    postponed.log.changes.push((T - 60_000, Change::Linked(0)));
    finds(&postponed, "nothing was wrong");
    postponed.outages.push(Span { from: T + 5_000, until: T + 6_000 });
    accepts(&postponed, &[]);
    finds(&refused(End::Postponed, [denied(false)]), "denies otherwise");
    finds(&refused(End::Denied, [denied(true)]), "denies otherwise");
    finds(&refused(End::Denied, []), "does not say that it was denied");
    finds(&refused(End::Denied, [denied(false), denied(false)]), "denied twice");
    finds(
        &refused(End::Denied, [denied(false), Line { session: None, ..allowed() }]),
        "lets in who was denied",
    );
    // Two seconds before it gave up by itself, with a connection that stood.
    finds(
        &refused(End::Unanswered, [line(8_400, What::Denied { is_temporary: false })]),
        "never was",
    );
    let mut early = refused(End::Unanswered, [line(10_100, What::Denied { is_temporary: false })]);
    accepts(&early, &["answer_lost_with_the_connection_or_too_late"]);
    early.instances[0].ended = Some((T + 20_000, End::Unanswered));
    finds(&early, "an answer that nobody got");
    let unnamed = |what| Line { session: None, ..line(10_500, what) };
    finds(&refused(End::Left, [unnamed(What::Allowed { deadline: None })]), "without a row");
    let mut known = refused(End::Denied, [denied(false), unnamed(What::Known)]);
    known.instances[0].ended = Some((T + 20_000, End::Denied));
    known.log.lines[0].at = T + 20_000;
    finds(&known, "in who never was");
}

#[test]
fn whose_approval_was_lost_with_a_daemon_is_found_waiting_by_the_next_one() {
    let lost = |after: Millis| {
        let mut bed = killed(bed(), after);
        bed.instances[0].admitted = None;
        bed.instances[0].killed = Some(T + 23_250);
        bed.instances[0].ended = Some((T + 28_250, End::Killed));
        bed.rows[0].ended = Some(T + 28_250);
        let end = What::Closed { cause: "unknown".into(), seconds: 18, bytes: bytes() };
        let told = [line(23_250, What::Known), line(23_250, What::Killed), line(28_251, end)];
        bed.log.lines = iter::once(allowed()).chain(told).collect();
        bed
    };
    accepts(&lost(10_003), &["answer_lost_with_the_connection_or_too_late"]);
    // The connection by which it was approved lived on.
    finds(&lost(12_000), "in who never was");
}

#[test]
fn each_daemon_that_knows_of_a_session_says_so() {
    finds(&with(|log| drop(log.remove(1))), "does not say that it is in");
    // Killed at second 12, the next one there at second 22: eight seconds before its end.
    let mut again = killed(bed(), 12_000);
    finds(&again, "does not say that it is in");
    again.log.lines.push(line(22_500, What::Known));
    accepts(&again, &[]);
}

#[test]
fn a_line_may_be_missing_of_what_happened_right_before_its_daemons_death() {
    let untold = "daemon_killed_before_its_line_was_written";
    let mut bed = killed(with(|log| drop(log.remove(0))), 10_400);
    bed.log.lines.push(line(22_000, What::Known));
    accepts(&bed, &[untold]);
    let mut late = killed(with(|log| drop(log.remove(0))), 10_600);
    late.log.lines.push(line(22_000, What::Known));
    finds(&late, "does not say that it was let in");

    let without_end = || with(|log| drop(log.remove(2)));
    accepts(&killed(without_end(), 30_500), &[untold]);
    finds(&killed(without_end(), 32_000), "does not say that it was closed");
    // Nobody was there: the next one closes it, and lives on.
    finds(&killed(without_end(), 25_000), "does not say that it was closed");
    let mut next = killed(without_end(), 25_000);
    next.daemons[1].until = T + 36_500;
    next.links[1].until = Some(T + 36_500);
    next.daemons.push(Span { from: T + 50_000, until: T + 51_000 });
    accepts(&next, &[untold]);
    // Another one had had the time before it.
    let mut next = killed(without_end(), 32_000);
    next.daemons[1].until = T + 43_500;
    next.links[1].until = Some(T + 43_500);
    next.daemons.push(Span { from: T + 50_000, until: T + 51_000 });
    finds(&next, "does not say that it was closed");
}

#[test]
fn a_file_loses_no_line_and_a_kill_cuts_off_one() {
    let mut bed = bed();
    bed.log.dropped = 1;
    finds(&bed, "1 lines were dropped");
    bed.log.dropped = 0;
    bed.log.broken = 1;
    finds(&bed, "1 lines are none");
    let mut killed = killed(with(|log| log.push(line(40_000, What::Known))), 35_000);
    killed.log.broken = 1;
    accepts(&killed, &[]);
}

#[test]
fn a_kill_and_the_end_of_its_time_are_told_and_were_so() {
    let at = |killed: Millis, gone: Millis, lines: &[Line]| {
        let mut bed = with(|log| {
            log.truncate(2);
            log.extend_from_slice(lines);
        });
        bed.instances[0].killed = Some(T + killed);
        bed.instances[0].ended = Some((T + gone, End::Killed));
        bed.rows[0].cause = "session_limit".into();
        bed.rows[0].ended = Some(T + gone);
        bed
    };
    let end = What::Closed { cause: "session_limit".into(), seconds: 65, bytes: bytes() };
    let [expired, kill, end] =
        [line(69_996, What::Expired), line(70_000, What::Killed), line(75_001, end)];
    let all = [expired.clone(), kill.clone(), end.clone()];
    accepts(&at(70_001, 75_000, &all), &[]);
    finds(&at(70_001, 75_000, &[kill.clone(), end.clone()]), "does not say that its time was over");
    finds(&at(70_001, 75_000, &[expired.clone(), end.clone()]), "does not say that it was killed");
    let early = Line { at: T + 69_980, ..expired };
    finds(&at(70_001, 75_000, &[early, kill, end]), "over before its time");
    let mut untold = at(70_001, 80_000, &all);
    untold.instances[0].killed = None;
    finds(&untold, "a kill that nobody got");
    untold.instances[0].ended = Some((T + 70_100, End::Left));
    untold.rows[0].ended = Some(T + 75_000);
    accepts(&untold, &["kill_lost_with_the_connection_or_too_late"]);
}

#[test]
fn an_end_is_told_once_and_as_the_row_has_it() {
    let otherwise = |cause: &str, seconds, bytes| {
        with(|log| log[2].what = What::Closed { cause: cause.into(), seconds, bytes })
    };
    for bed in [
        otherwise("idle", 20, bytes()),
        otherwise("unknown", 21, bytes()),
        otherwise("unknown", 20, (5, 7)),
    ] {
        finds(&bed, "closes it otherwise than its row");
    }
    finds(&with(|log| log.push(closed(30_100))), "closed twice by one daemon");
    finds(&with(|log| log[2].at = T + 20_000), "closes who is in");
    let mut again = killed(bed(), 30_100);
    again.log.lines.push(closed(41_000));
    accepts(&again, &["closed_again_by_its_successor"]);
    let mut none = bed();
    none.rows.clear();
    finds(&none, "not in the table");
}

#[test]
fn links_and_daemons_are_told() {
    let without = |change: Change| {
        let mut bed = bed();
        bed.log.changes.retain(|(_, what)| *what != change);
        bed
    };
    finds(&without(Change::Started), "no daemon.started");
    finds(&without(Change::Linked(0)), "no link.up");
    let mut lost = bed();
    lost.links[0].until = Some(T + 50_000);
    finds(&lost, "no link.lost");
    for change in [Change::Unlinked(0), Change::Stopping] {
        lost.log.changes.push((T + 50_100, change));
        accepts(&lost, &[]);
        lost.log.changes.pop();
    }
    lost.log.changes.push((T + 50_100, Change::Unlinked(1)));
    finds(&lost, "no link.lost");
    // Its daemon was killed while it stood still, and it went on when the next one was there.
    let mut killed = killed(bed(), 50_000);
    killed.links[0].until = Some(T + 60_900);
    killed.links[1].from = T + 61_000;
    finds(&killed, "no link.lost");
    killed.frozen.push((0, Span { from: T + 45_000, until: T + 60_800 }));
    accepts(&killed, &[]);
}

#[test]
fn the_database_is_away_only_when_something_was_done_to_it() {
    let bed = |changes: &[(Millis, Change)]| {
        let mut bed = bed();
        bed.log.changes.extend(changes.iter().map(|(after, change)| (T + after, *change)));
        bed
    };
    let both = [(50_000, Change::StoreDown), (55_000, Change::StoreUp)];
    finds(&bed(&both), "nothing was done to it");
    let outage = Span { from: T + 49_000, until: T + 54_000 };
    let mut away = bed(&both);
    away.outages.push(outage);
    accepts(&away, &[]);
    let mut still = bed(&both);
    still.stalls.push(outage);
    accepts(&still, &["database_away_machine_stood_still"]);
    let mut open = bed(&both[..1]);
    open.outages.push(outage);
    finds(&open, "ends with the database away");
    open.log.changes.extend(iter::once((T + 60_000, Change::Started)));
    accepts(&open, &[]);
}
