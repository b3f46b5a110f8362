//! What reports and retention read and remove, and the view for FreeRADIUS' tools, on every
//! backend.

use std::{collections::BTreeMap, sync::Arc};

use ovpn_warden::{
    store::{PolicyRecord, SessionFilter, SessionRecord, SessionState, SpanCursor},
    types::{Cause, Timestamp},
};

use super::bed::{Backend, Bed, at, by, name, session};

const DAY: i64 = 86_400_000;

/// A session from `start` to `end` in milliseconds; open when `end` is none, and then last seen an
/// hour after its start.
fn lasting(number: u32, start: i64, end: Option<i64>) -> SessionRecord {
    SessionRecord {
        state: if end.is_some() { SessionState::Closed } else { SessionState::Active },
        started_at: at(start),
        updated_at: at(end.unwrap_or(start + 3_600_000)),
        ended_at: end.map(at),
        cause: end.map(|_| Cause::UserRequest),
        bytes_received: u64::from(number) * 10,
        bytes_sent: u64::from(number),
        ..session(number)
    }
}

/// All spans of a time, by the number of the session, and how many pages it took.
async fn spans(
    bed: &Bed,
    user: Option<&str>,
    since: i64,
    until: i64,
) -> (BTreeMap<u64, (Timestamp, Timestamp, bool)>, usize) {
    let user = user.map(name);
    let (mut found, mut pages) = (BTreeMap::new(), 0);
    let mut next = Some(SpanCursor::default());
    while let Some(cursor) = next {
        let page = bed.store.spans(user.as_ref(), at(since), at(until), cursor).await.unwrap();
        for span in page.spans {
            let value = (span.started_at, span.until, span.is_open);
            assert_eq!(span.bytes_received, span.bytes_sent * 10);
            assert_eq!(found.insert(span.bytes_sent, value), None, "{} twice", span.bytes_sent);
        }
        next = page.next;
        pages += 1;
    }
    (found, pages)
}

pub async fn spans_are_those_that_overlap_whatever_their_length(bed: Arc<Bed>) {
    let hour = DAY / 24;
    let rows = [
        lasting(1, -hour, Some(hour)),
        lasting(2, -hour, Some(-1)),
        lasting(3, hour, Some(2 * hour)),
        lasting(4, DAY - 1, Some(DAY + hour)),
        lasting(5, DAY, Some(DAY + hour)),
        // A day and its neighbours in length, and a year.
        lasting(6, -DAY + 1, Some(1)),
        lasting(7, -DAY + 1, Some(0)),
        lasting(8, -DAY - 1, Some(1)),
        lasting(9, -200 * DAY, Some(165 * DAY)),
        lasting(10, -200 * DAY, Some(-1)),
        lasting(11, hour, None),
        lasting(12, -3 * hour, None),
        SessionRecord { updated_at: at(hour), ..lasting(13, -30 * DAY, None) },
        SessionRecord { user: name("bob"), ..lasting(14, hour, Some(2 * hour)) },
        SessionRecord { user: name("bob "), ..lasting(15, hour, Some(2 * hour)) },
    ];
    bed.store.persist(&rows).await.unwrap();
    let (found, _) = spans(&bed, None, 0, DAY).await;
    // 7 ends as the time begins: whoever adds up gives it nothing.
    let numbers: Vec<_> = found.keys().copied().collect();
    assert_eq!(numbers, [1, 3, 4, 6, 7, 8, 9, 11, 13, 14, 15]);
    assert_eq!(found[&1], (at(-hour), at(hour), false));
    assert_eq!(found[&11], (at(hour), at(2 * hour), true));
    assert_eq!(found[&13], (at(-30 * DAY), at(hour), true));
    let (found, _) = spans(&bed, Some("bob"), 0, DAY).await;
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [14]);
    assert!(spans(&bed, Some("Alice"), 0, DAY).await.0.is_empty());
}

pub async fn spans_come_in_pages_and_each_session_once(bed: Arc<Bed>) {
    // Many of one start and of one length, so that pages end between equals.
    let rows: Vec<_> = (1..=11_000u32)
        .map(|number| {
            let start = i64::from(number % 3);
            let days = if number % 2 == 0 { 0 } else { 2 };
            lasting(number, start, Some(start + days * DAY + 1_000))
        })
        .collect();
    bed.store.persist(&rows).await.unwrap();
    let (found, pages) = spans(&bed, None, 0, DAY).await;
    assert_eq!(found.len(), 11_000);
    assert_eq!(pages, 4, "two of short sessions, two of long ones");
    assert_eq!(spans(&bed, Some("alice"), 0, DAY).await.0, found);
}

pub async fn sessions_about_to_end_come_soonest_first(bed: Arc<Bed>) {
    let ends = |number, deadline: Option<i64>| SessionRecord {
        deadline: deadline.map(at),
        ..session(number)
    };
    let ended = SessionRecord { deadline: Some(at(1)), ..lasting(5, 0, Some(1)) };
    let rows = [ends(1, Some(300)), ends(2, Some(100)), ends(3, None), ends(4, Some(201)), ended];
    bed.store.persist(&rows).await.unwrap();
    let list = async |until, limit| {
        let found = bed.store.expiring_sessions(at(until), limit).await.unwrap();
        found.iter().map(|session| session.cid.0).collect::<Vec<_>>()
    };
    assert_eq!(list(300, 10).await, [2, 4, 1]);
    assert_eq!(list(200, 10).await, [2]);
    assert_eq!(list(300, 1).await, [2]);
    assert!(list(50, 10).await.is_empty());
}

pub async fn only_closed_sessions_are_removed_oldest_first_in_batches(bed: Arc<Bed>) {
    let mut rows: Vec<_> =
        (0..100).map(|number| lasting(number, 0, Some(i64::from(number)))).collect();
    rows.push(lasting(100, -1_000 * DAY, None));
    // Not closed although it has an end: whoever wrote that is not done with it.
    rows.push(SessionRecord { state: SessionState::Closing, ..lasting(101, 0, Some(1)) });
    bed.store.persist(&rows).await.unwrap();
    let left = async || {
        let all = SessionFilter { ended: true, limit: 1_000, ..SessionFilter::default() };
        let rows = bed.store.sessions(&all).await.unwrap();
        let mut left: Vec<_> = rows.iter().map(|row| row.cid.0).collect();
        left.sort_unstable();
        left
    };
    // In the order of their ends, page by page.
    let mut cursor = None;
    let mut ended = Vec::new();
    loop {
        let page = bed.store.ended(cursor.as_ref(), at(50), 7).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().all(|session| session.retention_days.is_none()));
        cursor = Some(last.cursor.clone());
        ended.extend(page.into_iter().map(|session| session.cursor.id));
    }
    assert_eq!(ended, rows[..50].iter().map(|row| row.id).collect::<Vec<_>>());
    assert_eq!(bed.store.remove_sessions(&ended[..20]).await, Ok(20));
    assert_eq!(left().await, (20..102).collect::<Vec<_>>());
    // Two daemons at once share the rest; what is open, or being ended, is not touched.
    let open = [rows[100].id, rows[101].id];
    let all: Vec<_> = ended.iter().chain(&open).copied().collect();
    let (one, two) = (bed.second(), bed.second());
    let (one, two) = tokio::join!(one.remove_sessions(&all), two.remove_sessions(&all));
    assert_eq!(one.unwrap() + two.unwrap(), 30);
    assert_eq!(left().await, (50..102).collect::<Vec<_>>());
    assert_eq!(bed.store.remove_sessions(&[]).await, Ok(0));
}

pub async fn ended_sessions_come_with_what_their_users_policy_keeps(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let kept = PolicyRecord {
        name: "default".into(),
        retention_days: Some(30),
        ..PolicyRecord::default()
    };
    bed.store.put_policy(&kept, true, &by()).await.unwrap();
    let none =
        PolicyRecord { name: "none".into(), retention_days: Some(0), ..PolicyRecord::default() };
    bed.store.put_policy(&none, false, &by()).await.unwrap();
    assert_eq!(bed.store.retentions().await, Ok(vec![30]));
    let gone = SessionRecord { user: name("gone"), ..lasting(2, 0, Some(2)) };
    bed.store.persist(&[lasting(1, 0, Some(1)), gone]).await.unwrap();
    let ended = bed.store.ended(None, at(50), 10).await.unwrap();
    let days: Vec<_> = ended.iter().map(|session| session.retention_days).collect();
    assert_eq!(days, [Some(30), Some(30)], "who is gone is of the policy `default`");
}

pub async fn radacct_has_the_columns_of_freeradius(bed: Arc<Bed>) {
    let v6 = SessionRecord { vpn_ip: Some("fd00::7".into()), client_ip: None, ..session(2) };
    bed.store.persist(&[lasting(1, 0, Some(5_000)), v6]).await.unwrap();
    let id = session(1).id.to_string();
    let digits = id.replace('-', "");
    // The time and the first random digits; the digit of the UUID's version and kind are left out.
    let number = format!("{}{}{}", &digits[..12], &digits[13..16], &digits[17..18]);
    let number = u64::from_str_radix(&number, 16).unwrap();
    let text = |column: &str| match (bed.backend, column) {
        (Backend::Sqlite, column) => format!("CAST({column} AS TEXT)"),
        (Backend::MariaDb | Backend::MySql, column) => format!("CAST({column} AS CHAR(64))"),
    };
    for (column, value) in [
        ("radacctid", number.to_string().as_str()),
        ("acctsessionid", &id),
        ("acctuniqueid", &digits),
        ("username", "alice"),
        ("groupname", ""),
        ("realm", ""),
        ("nasipaddress", "udp-1194"),
        ("nasportid", "1"),
        ("nasporttype", "Virtual"),
        ("acctstarttime", "2026-11-23 11:56:40.000"),
        ("acctupdatetime", "2026-11-23 11:56:45.000"),
        ("acctstoptime", "2026-11-23 11:56:45.000"),
        ("COALESCE(acctinterval, 'null')", "null"),
        ("acctsessiontime", "5"),
        ("acctauthentic", "Local"),
        ("connectinfo_start", "linux 2.6.14"),
        ("connectinfo_stop", ""),
        ("acctinputoctets", "10"),
        ("acctoutputoctets", "1"),
        ("calledstationid", "udp-1194"),
        ("callingstationid", "192.0.2.7"),
        ("acctterminatecause", "User-Request"),
        ("servicetype", "Framed-User"),
        ("framedprotocol", ""),
        ("framedipaddress", "10.8.0.2"),
        ("framedipv6address", ""),
        ("framedipv6prefix", ""),
        ("framedinterfaceid", ""),
        ("delegatedipv6prefix", ""),
        ("COALESCE(class, 'null')", "null"),
    ] {
        let query = format!("SELECT {} FROM radacct WHERE acctsessionid = '{id}'", text(column));
        assert_eq!(bed.texts(&query).await, [value], "{column}");
    }
    let open = "FROM radacct WHERE acctstoptime IS NULL";
    assert_eq!(bed.texts(&format!("SELECT framedipv6address {open}")).await, ["fd00::7"]);
    assert_eq!(
        bed.texts(&format!("SELECT framedipaddress {open} AND callingstationid = ''")).await,
        [""]
    );
}

pub async fn every_cause_has_its_radius_word(bed: Arc<Bed>) {
    let word = |cause| match cause {
        Cause::SessionLimit | Cause::TimeQuota | Cause::Hours | Cause::AccountExpiry => {
            "Session-Timeout"
        }
        Cause::DataQuota => "NAS-Request",
        Cause::Idle => "Idle-Timeout",
        Cause::Admin | Cause::AccountDisabled | Cause::DeviceBlocked => "Admin-Reset",
        Cause::Replaced => "Port-Preempted",
        Cause::UserRequest => "User-Request",
        Cause::LostCarrier => "Lost-Carrier",
        Cause::ServerRestarted => "NAS-Reboot",
        Cause::Unknown => "",
    };
    let rows: Vec<_> = (0..)
        .zip(Cause::ALL)
        .map(|(number, cause)| SessionRecord {
            cause: Some(*cause),
            ..lasting(number, i64::from(number), Some(1_000))
        })
        .collect();
    let closing = SessionRecord {
        state: SessionState::Closing,
        cause: Some(Cause::Admin),
        ..lasting(99, 2_000, None)
    };
    bed.store.persist(&[rows, vec![closing]].concat()).await.unwrap();
    let words = bed.texts("SELECT acctterminatecause FROM radacct ORDER BY acctstarttime").await;
    let mut expected: Vec<_> = Cause::ALL.iter().map(|cause| word(*cause)).collect();
    expected.push("");
    assert_eq!(words, expected, "none before the end");
}
