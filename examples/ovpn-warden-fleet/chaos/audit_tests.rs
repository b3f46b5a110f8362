//! Each rule finds what it is for, and accepts what is explained.

use ovpn_warden::types::{SessionId, Timestamp};

use super::*;

/// Between two clients, servers or runs.
const T: Millis = 1_795_435_000_000;
const MINUTE: Millis = 60_000;

pub(super) fn id(number: u8) -> SessionId {
    SessionId::new(Timestamp::from_millis(T), [number; 10])
}

/// One client that came at second 10, was in for 20 s and left, and its row.
pub(super) fn bed() -> Evidence {
    let instance = Instance {
        server: 0,
        run: T / 1_000,
        cid: 4,
        number: 1,
        asked: T + 9_990,
        admitted: Some(T + 10_000),
        killed: None,
        ended: Some((T + 30_000, End::Left)),
    };
    let row = Row {
        id: id(1),
        server: 0,
        run: T / 1_000,
        cid: 4,
        user: user(1),
        state: "closed".into(),
        started: T + 9_995,
        ended: Some(T + 30_001),
        deadline: Some(T + 9_995 + MINUTE),
        cause: "unknown".into(),
        bytes: flow(20_000),
    };
    Evidence {
        instances: vec![instance],
        links: vec![Link { server: 0, from: T, until: Some(T + 5 * MINUTE) }],
        daemons: vec![Span { from: T - 1_000, until: T + 5 * MINUTE }],
        rows: vec![row],
        usage: HashMap::new(),
        accounting: 2_000,
        limits: HashMap::from([(1, MINUTE)]),
        limit: 8 * 60 * MINUTE,
        memory: MEMORY,
        ..Evidence::default()
    }
    .with_usage()
}

impl Evidence {
    /// What the rows add up to.
    fn with_usage(mut self) -> Self {
        self.usage.clear();
        for row in &self.rows {
            let (time, received, sent) = self.usage.entry(row.user.clone()).or_default();
            *time += row.ended.map_or(0, |ended| ended - row.started);
            *received += row.bytes.0;
            *sent += row.bytes.1;
        }
        self
    }

    /// The only daemon is killed then, and another is there after `away`.
    fn without_daemon(mut self, from: Millis, away: Millis) -> Self {
        let end = T + 5 * MINUTE;
        self.links = vec![
            Link { server: 0, from: T, until: Some(from) },
            Link { server: 0, from: from + away, until: Some(end) },
        ];
        self.daemons = vec![
            Span { from: T - 1_000, until: from },
            Span { from: from + away - 50, until: end },
        ];
        self
    }
}

#[track_caller]
fn finds(evidence: Evidence, words: &str) {
    let (verdict, _) = judge_table(&evidence);
    assert!(
        verdict.findings.iter().any(|finding| finding.contains(words)),
        "no `{words}` in {verdict:#?}"
    );
}

#[track_caller]
fn accepts(evidence: Evidence, names: &[&str]) {
    let (verdict, _) = judge_table(&evidence);
    assert!(verdict.findings.is_empty(), "{verdict:#?}");
    assert_eq!(verdict.accepted.keys().copied().collect::<Vec<_>>(), names);
}

#[test]
fn a_table_that_says_what_was_seen_is_right() {
    accepts(bed(), &[]);
    let bed = bed();
    let (verdict, _) = judge_table(&bed);
    assert_eq!((verdict.sessions, verdict.exact), (1, 1));
}

#[test]
fn a_session_is_there_once_and_no_other() {
    let mut lost = bed();
    lost.rows.clear();
    finds(lost.with_usage(), "without a row");

    let mut twice = bed();
    twice.rows.push(Row { id: id(2), started: T + 10_100, ..twice.rows[0].clone() });
    finds(twice.with_usage(), "2 rows of one session");

    let mut strange = bed();
    strange.rows.push(Row { id: id(2), cid: 5, ..strange.rows[0].clone() });
    finds(strange.with_usage(), "a row without a session");

    let mut of_another = bed();
    of_another.rows[0].user = user(2);
    finds(of_another.with_usage(), "a row without a session");

    let mut open = bed();
    open.rows[0].ended = None;
    finds(open.with_usage(), "stays open");
}

#[test]
fn a_run_that_begins_in_the_same_second_has_sessions_of_its_own() {
    let mut two = bed();
    two.instances.push(Instance {
        asked: T + 40_000,
        admitted: Some(T + 40_010),
        ended: Some((T + 50_010, End::Left)),
        ..two.instances[0].clone()
    });
    two.rows.push(Row {
        id: id(2),
        started: T + 40_010,
        ended: Some(T + 50_010),
        deadline: Some(T + 40_010 + MINUTE),
        bytes: flow(10_000),
        ..two.rows[0].clone()
    });
    accepts(two.with_usage(), &[]);
}

#[test]
fn times_are_right_to_a_second_where_a_daemon_saw_them() {
    for off in [-1_500, 1_500] {
        let mut end = bed();
        end.rows[0].ended = Some(T + 30_000 + off);
        finds(end.with_usage(), "its row ends 1500 ms");
    }
    let mut start = bed();
    start.rows[0].started = T + 11_500;
    finds(start.with_usage(), "begins 1500 ms late");
    let mut start = bed();
    start.rows[0].started = T + 8_000;
    finds(start.with_usage(), "a row without a session");
}

#[test]
fn an_end_that_no_daemon_saw_is_as_old_as_what_was_stored_last() {
    // Killed at second 25: seen until second 20 at the earliest (two intervals and a second), its bytes
    // until second 22 (one interval and a second).
    let bed = |ended: Millis, counted: Millis| {
        let mut bed = bed().without_daemon(T + 25_000, 10_000);
        bed.rows[0].ended = Some(T + ended);
        bed.rows[0].bytes = flow(counted - 10_000);
        bed.with_usage()
    };
    accepts(bed(24_000, 24_000), &["ended_without_daemon"]);
    accepts(bed(20_500, 22_500), &["ended_without_daemon"]);
    finds(bed(19_000, 22_500), "early (ended_without_daemon)");
    finds(bed(31_500, 24_000), "late (ended_without_daemon)");
    finds(bed(24_000, 21_500), "bytes of 8500 ms are missing");
}

#[test]
fn an_end_that_a_new_daemon_missed_while_it_compared_is_told() {
    // The second daemon is there at second 29, the client leaves at second 30.
    let mut bed = bed().without_daemon(T + 25_000, 4_000);
    bed.rows[0].ended = Some(T + 24_000);
    bed.rows[0].bytes = flow(14_000);
    accepts(bed.with_usage(), &["ended_while_a_new_daemon_compared"]);
}

#[test]
fn an_end_that_was_not_stored_when_the_daemon_was_killed_is_told() {
    let bed = |death: Millis| {
        let mut bed = bed().without_daemon(T + death, 10_000);
        bed.rows[0].ended = Some(T + 28_000);
        bed.rows[0].bytes = flow(18_000);
        bed.with_usage()
    };
    accepts(bed(30_400), &["daemon_killed_before_the_end_was_stored"]);
    finds(bed(30_600), "early ()");
    // Without the database it is in memory for longer.
    let mut away = bed(36_000);
    away.outages = vec![Span { from: T + 28_500, until: T + 60_000 }];
    accepts(away, &["daemon_killed_before_the_end_was_stored"]);
    let mut away = bed(39_000);
    away.outages = vec![Span { from: T + 28_500, until: T + 60_000 }];
    finds(away, "early ()");
}

#[test]
fn a_servers_death_is_the_end_of_its_sessions_to_a_second() {
    let bed = |ended: Millis| {
        let mut bed = bed();
        bed.instances[0].ended = Some((T + 30_000, End::ServerDied));
        bed.links[0].until = Some(T + 30_000);
        bed.links.push(Link { server: 0, from: T + 33_000, until: None });
        bed.rows[0].ended = Some(T + ended);
        bed.rows[0].bytes = flow(18_000);
        bed.with_usage()
    };
    accepts(bed(30_100), &[]);
    finds(bed(28_500), "its row ends 1500 ms early");
    finds(bed(33_000), "its row ends 3000 ms late");
}

#[test]
fn bytes_are_exact_where_the_end_was_seen_and_an_interval_old_at_most_where_not() {
    let mut less = bed();
    less.rows[0].bytes = flow(19_999);
    finds(less.with_usage(), "bytes of");
    let mut more = bed();
    more.rows[0].bytes = flow(20_001);
    finds(more.with_usage(), "bytes of");

    let died = |carried: Millis| {
        let mut bed = bed();
        bed.instances[0].ended = Some((T + 30_000, End::ServerDied));
        bed.links[0].until = Some(T + 30_000);
        bed.rows[0].bytes = flow(carried);
        bed.with_usage()
    };
    accepts(died(17_500), &[]);
    finds(died(16_500), "bytes of");
}

#[test]
fn nobody_is_in_a_second_after_the_deadline_while_a_daemon_is_there() {
    // Its time is over at second 70.
    let bed = |killed: Option<Millis>, gone: Millis, why: End| {
        let mut bed = bed();
        bed.instances[0].killed = killed.map(|at| T + at);
        bed.instances[0].ended = Some((T + gone, why));
        bed.rows[0].ended = Some(T + gone);
        bed.rows[0].bytes = flow(gone - 10_000);
        bed.with_usage()
    };
    accepts(bed(Some(70_100), 75_100, End::Killed), &[]);
    finds(bed(Some(71_200), 76_200, End::Killed), "past its deadline while a daemon was there");
    finds(bed(None, 72_000, End::Left), "past its deadline while a daemon was there");
    finds(bed(Some(60_000), 65_000, End::Killed), "killed before its time");

    let mut stalled = bed(Some(71_200), 76_200, End::Killed);
    stalled.stalls = vec![Span { from: T + 70_000, until: T + 70_900 }];
    accepts(stalled, &["past_deadline_machine_stood_still"]);

    let away = bed(Some(80_100), 85_100, End::Killed).without_daemon(T + 65_000, 15_000);
    accepts(away, &["past_deadline_no_daemon"]);
    let late = bed(Some(81_200), 85_100, End::Killed).without_daemon(T + 65_000, 15_000);
    finds(late, "past its deadline while a daemon was there");
}

#[test]
fn a_daemon_that_began_without_the_database_knows_nobody_before_that_is_back() {
    let bed = |killed: Millis| {
        let mut bed = bed();
        bed.instances[0].killed = Some(T + killed);
        bed.instances[0].ended = Some((T + killed + 5_000, End::Killed));
        bed.rows[0].ended = Some(T + killed + 5_000);
        bed.rows[0].bytes = flow(killed - 5_000);
        let mut bed = bed.with_usage().without_daemon(T + 65_000, 1_000);
        bed.outages = vec![Span { from: T + 64_000, until: T + 75_000 }];
        bed
    };
    accepts(bed(75_900), &["past_deadline_daemon_began_without_database"]);
    finds(bed(76_100), "past its deadline while a daemon was there");
}

#[test]
fn a_row_of_an_approval_that_nobody_read_is_told() {
    let mut lost = bed().without_daemon(T + 10_200, 2_000);
    lost.instances[0].admitted = None;
    lost.rows[0].ended = Some(T + 9_996);
    lost.rows[0].bytes = (0, 0);
    accepts(lost.with_usage(), &["approval_lost_with_the_connection"]);

    let mut left = bed();
    left.instances[0].admitted = None;
    left.instances[0].ended = Some((T + 9_996, End::Left));
    accepts(left.with_usage(), &["left_before_its_approval"]);

    let mut wrong = bed();
    wrong.instances[0].admitted = None;
    finds(wrong.with_usage(), "a row without a session");
}

#[test]
fn no_session_is_without_a_row_however_its_daemon_died() {
    let bed = |death: Millis, gone: Millis| {
        let mut bed = bed().without_daemon(T + death, 5_000);
        bed.rows.clear();
        bed.instances[0].ended = Some((T + gone, End::Left));
        bed.with_usage()
    };
    for (death, gone) in [(10_400, 12_000), (10_600, 12_000), (10_100, 30_000)] {
        finds(bed(death, gone), "a session without a row");
    }
    let mut away = bed(14_000, 16_000);
    away.outages = vec![Span { from: T + 10_050, until: T + 30_000 }];
    finds(away, "a session without a row");
}

#[test]
fn quotas_count_what_closed_rows_add_up_to() {
    let mut none = bed();
    none.usage.clear();
    finds(none, "usage_periods None");
    let mut more = bed();
    more.usage.insert(user(7), (1, 0, 0));
    finds(more, "user000007: closed rows None");
    let mut off = bed();
    if let Some(used) = off.usage.get_mut(&user(1)) {
        used.0 += 1;
    }
    finds(off, "usage_periods");
}

#[test]
fn a_server_that_stands_still_says_nothing_and_may_be_killed_then() {
    let bed = |frozen_for: Millis| {
        let mut bed = bed();
        bed.instances[0].ended = Some((T + 30_000, End::ServerDied));
        bed.links[0].until = Some(T + 30_000);
        // The last that was heard of it is of second 21.
        bed.rows[0].ended = Some(T + 21_500);
        bed.rows[0].bytes = flow(10_500);
        bed.frozen = vec![(0, Span { from: T + 30_000 - frozen_for, until: T + 30_000 })];
        bed.with_usage()
    };
    accepts(bed(8_500), &[]);
    finds(bed(4_000), "its row ends");
    let mut another = bed(8_500);
    another.frozen[0].0 = 1;
    finds(another, "its row ends");
}

#[test]
fn a_daemon_that_was_stopped_is_not_there_meanwhile() {
    let mut bed = bed();
    bed.instances[0].killed = Some(T + 75_000);
    bed.instances[0].ended = Some((T + 80_000, End::Killed));
    bed.rows[0].ended = Some(T + 80_000);
    bed.rows[0].bytes = flow(70_000);
    let mut bed = bed.with_usage();
    bed.stalls = vec![Span { from: T + 68_000, until: T + 74_900 }];
    accepts(bed, &["past_deadline_machine_stood_still"]);
}

#[test]
fn a_question_is_answered_unless_it_was_lost_with_a_connection() {
    // It renegotiated at second 15.
    let bed = || {
        let mut bed = bed();
        bed.instances[0].ended = Some((T + 30_000, End::Unanswered));
        bed
    };
    finds(bed().with_usage(), "was not answered");
    accepts(
        bed().without_daemon(T + 20_000, 100).with_usage(),
        &["question_lost_with_the_connection"],
    );
    let mut late = bed();
    late.links[0].from = T + 14_900;
    accepts(late.with_usage(), &["question_lost_with_the_connection"]);
    let mut before = bed().without_daemon(T + 12_000, 1_000);
    before.links[1].until = Some(T + 31_000);
    finds(before.with_usage(), "was not answered");
}
