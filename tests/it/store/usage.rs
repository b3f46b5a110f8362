//! What sessions used of quotas: it counts once, and for the right day.

use std::{sync::Arc, time::Duration};

use ovpn_warden::{
    store::{
        DayMark, DayMarks, Granted, PolicyRecord, QuotaGrant, SessionRecord, SessionState,
        StoreError, USERS_OF_USAGE, Usage,
    },
    types::{Period, Periods, Timestamp},
};

use super::bed::{Backend, Bed, at, by, name, new_user, session};

/// In milliseconds, as everything here.
const DAY: i64 = 86_400_000;

fn periods(day: i64, week: i64, month: i64) -> Periods {
    Periods { day: at(day), week: at(week), month: at(month) }
}

async fn usage(bed: &Bed, user: &str, periods: Periods) -> Usage {
    bed.store.usage(&[(name(user), periods)], at(10 * DAY)).await.unwrap().remove(0)
}

/// Ended, with a share on two days.
fn ended(number: u32, user: &str) -> SessionRecord {
    let mut day_marks = DayMarks::default();
    day_marks.push(DayMark { at: at(DAY), bytes_received: 100, bytes_sent: 10 });
    SessionRecord {
        user: name(user),
        version: 2,
        state: SessionState::Closed,
        ended_at: Some(at(DAY + 60_000)),
        updated_at: at(DAY + 60_000),
        bytes_received: 150,
        bytes_sent: 15,
        day_marks,
        ..session(number)
    }
}

pub async fn what_ended_sessions_used_counts_once_and_by_day(bed: Arc<Bed>) {
    let all = periods(-DAY, -DAY, -DAY);
    assert_eq!(usage(&bed, "alice", all).await, Usage::default());
    let rows = [ended(1, "alice"), ended(2, "alice"), ended(3, "bob")];
    for _ in 0..2 {
        bed.store.persist(&rows).await.unwrap();
    }
    // A row that comes late again, with another end: the first one stands.
    let late = SessionRecord { version: 9, ended_at: Some(at(DAY + 90_000)), ..ended(1, "alice") };
    bed.store.persist(&[late]).await.unwrap();
    let found = usage(&bed, "alice", periods(DAY, 0, -DAY)).await;
    let whole = 2 * u128::try_from(DAY).unwrap() - 3 + 120_000;
    let millis: Vec<_> = found.time.iter().map(Duration::as_millis).collect();
    // They began at 1 and 2 ms; the week, at 0.
    assert_eq!(millis, [120_000, whole, whole, whole]);
    assert_eq!(found.bytes, [110, 330, 330, 330]);
    assert_eq!(found.open, []);
    let both = [(name("bob"), all), (name("nobody"), all), (name("alice"), all)];
    let both = bed.store.usage(&both, at(0)).await.unwrap();
    let totals: Vec<_> = both.iter().map(|usage| usage.bytes[Period::Total as usize]).collect();
    assert_eq!(totals, [165, 0, 330]);
    let many: Vec<_> =
        (0..=USERS_OF_USAGE).map(|number| (name(&format!("user{number}")), all)).collect();
    assert_eq!(
        bed.store.usage(&many[1..], at(0)).await.map(|found| found.len()),
        Ok(USERS_OF_USAGE)
    );
    let refused = bed.store.usage(&many, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "none of them is left out");
}

pub async fn open_sessions_count_by_their_own_row(bed: Arc<Bed>) {
    let open = SessionRecord { state: SessionState::Active, ended_at: None, ..ended(1, "alice") };
    bed.store.persist(&[open.clone(), session(2)]).await.unwrap();
    let found = usage(&bed, "alice", periods(0, 0, 0)).await;
    assert_eq!((found.bytes, found.open.len()), ([0; 4], 2));
    let first = found.open.iter().find(|found| found.session == open.id).unwrap();
    assert_eq!((first.bytes_received, first.bytes_sent), (150, 15));
    assert_eq!((first.started_at, first.updated_at), (open.started_at, open.updated_at));
    assert_eq!(first.marks, open.day_marks);
    let row = bed.store.session(open.id).await.unwrap().unwrap();
    assert_eq!(row.day_marks, open.day_marks);
    let closed = SessionRecord { version: 3, ..ended(1, "alice") };
    bed.store.persist(&[closed]).await.unwrap();
    let found = usage(&bed, "alice", periods(0, 0, 0)).await;
    assert_eq!((found.bytes, found.open.len()), ([165; 4], 1), "never in both");
}

/// What `usage_periods` has of a session: how many days, and their sums.
async fn days(bed: &Bed, session: &SessionRecord) -> Vec<String> {
    let sums = format!(
        "SELECT CONCAT(COUNT(*), ' ', SUM(duration_ms), ' ', SUM(bytes_received), ' ', SUM(bytes_sent)) \
         FROM usage_periods WHERE session_id = '{}' GROUP BY session_id",
        session.id
    );
    bed.texts(&sums).await
}

/// What `usage_periods` has to have of it.
fn days_of(session: &SessionRecord) -> Vec<String> {
    if session.state != SessionState::Closed {
        return Vec::new();
    }
    let shares = session.shares();
    let millis: u128 = shares.iter().map(|share| share.time.as_millis()).sum();
    let received: u64 = shares.iter().map(|share| share.bytes_received).sum();
    let sent: u64 = shares.iter().map(|share| share.bytes_sent).sum();
    vec![format!("{} {millis} {received} {sent}", shares.len())]
}

/// A daemon that was killed and its successor both write what they know of a session, in any order: its days are those
/// of the row that is there, after each of them.
pub async fn whoever_closes_a_session_first_its_days_are_those_of_its_row(bed: Arc<Bed>) {
    let of = |number: u32| {
        let active = SessionRecord { user: name("alice"), ..session(number) };
        let closed = SessionRecord { version: 4, ..ended(number, "alice") };
        [
            // It was adopted, with a version far ahead, before the last row of its first daemon came.
            SessionRecord { version: 100_003, bytes_sent: 12, ..active },
            closed.clone(),
            SessionRecord {
                version: 100_004,
                ended_at: Some(at(60_000)),
                updated_at: at(60_000),
                day_marks: DayMarks::default(),
                ..closed.clone()
            },
            // Of the same version, by one that had read the row before it was adopted.
            SessionRecord { ended_at: Some(at(DAY + 90_000)), bytes_sent: 16, ..closed },
        ]
    };
    let mut orders = vec![Vec::new()];
    for _ in 0..4 {
        let longer = |order: &Vec<usize>| {
            let free = (0..4).filter(|next| !order.contains(next));
            free.map(|next| [order.as_slice(), &[next]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 24);
    for (number, order) in (0..).zip(&orders) {
        let rows = of(number);
        // The last one is written again, as by one that had no answer.
        for step in order.iter().chain(order.last()) {
            bed.store.persist(std::slice::from_ref(&rows[*step])).await.unwrap();
            let row = bed.store.session(rows[0].id).await.unwrap().unwrap();
            assert_eq!(days(&bed, &row).await, days_of(&row), "{order:?} after {step}: {row:?}");
        }
    }
    // All at once, each daemon with its own.
    let numbers: Vec<u32> = (100..164).collect();
    let each: Vec<_> = numbers.iter().map(|number| of(*number)).collect();
    let write = async |which: usize| {
        let rows: Vec<_> = each.iter().map(|rows| rows[which].clone()).collect();
        let store = bed.second();
        for _ in 0..9 {
            match store.persist(&rows).await {
                Err(error) if error.is_transient() => {}
                done => return done.unwrap(),
            }
        }
        panic!("never written");
    };
    tokio::join!(write(0), write(1), write(2), write(3));
    for rows in &each {
        let row = bed.store.session(rows[0].id).await.unwrap().unwrap();
        assert_eq!(row.state, SessionState::Closed);
        assert_eq!(days(&bed, &row).await, days_of(&row), "{row:?}");
    }
}

pub async fn old_days_are_put_together_and_count_in_total(bed: Arc<Bed>) {
    let rows: Vec<_> = (0..300)
        .map(|number| ended(number, if number % 2 == 0 { "alice" } else { "bob" }))
        .collect();
    bed.store.persist(&rows).await.unwrap();
    let all = periods(-DAY, -DAY, -DAY);
    let before = usage(&bed, "alice", all).await;
    let (one, two) = (bed.second(), bed.second());
    let fold = async |store: Arc<dyn ovpn_warden::store::Store>| {
        let mut folded = 0;
        // Another daemon does the same: a round of it may lose against the other.
        for _ in 0..40 {
            folded += store.fold_usage(at(DAY), 50).await.unwrap_or(0);
        }
        folded
    };
    let (one, two) = tokio::join!(fold(one), fold(two));
    assert_eq!(one + two, 300, "the first days of all");
    assert_eq!(bed.store.fold_usage(at(DAY), 50).await, Ok(0));
    let after = usage(&bed, "alice", periods(DAY, DAY, DAY)).await;
    let total = Period::Total as usize;
    assert_eq!((after.time[total], after.bytes[total]), (before.time[total], before.bytes[total]));
    assert_eq!(after.bytes[0], 150 * 55, "the second days stay apart");
    let again = bed.store.fold_usage(Timestamp::MAX, 10_000).await.unwrap();
    assert_eq!(again, 300);
    let after = usage(&bed, "alice", periods(DAY, DAY, DAY)).await;
    assert_eq!((after.bytes[0], after.bytes[total]), (0, before.bytes[total]));
}

pub async fn grants_count_until_their_end(bed: Arc<Bed>) {
    let store = &bed.store;
    let grant = |amount, until| QuotaGrant { user: name("alice"), amount, valid_until: at(until) };
    let missing = store.grant_quota(&grant(Granted::Time(60), 20 * DAY), &by()).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
    store.add_user(&new_user("alice"), &by()).await.unwrap();
    for (amount, until) in [
        (Granted::Time(60), 20 * DAY),
        (Granted::Time(5), 11 * DAY),
        (Granted::Data(u64::MAX >> 2), 20 * DAY),
        (Granted::Data(9), 10 * DAY),
    ] {
        store.grant_quota(&grant(amount, until), &by()).await.unwrap();
    }
    let found = usage(&bed, "alice", periods(0, 0, 0)).await;
    let now = at(10 * DAY);
    assert_eq!(found.granted_time(now), Duration::from_secs(65));
    assert_eq!(
        found.granted_time(at(11 * DAY)),
        Duration::from_secs(60),
        "its end is no more of it"
    );
    assert_eq!(found.granted_bytes(now), u64::MAX >> 2);
    assert_eq!(usage(&bed, "bob", periods(0, 0, 0)).await, Usage::default());
    let listed = store.grants(&name("alice"), now).await.unwrap();
    let ends: Vec<_> = listed.iter().map(|grant| (grant.amount, grant.valid_until)).collect();
    assert_eq!(ends[0], (Granted::Time(5), at(11 * DAY)));
    assert_eq!((ends.len(), listed[0].actor.as_str()), (3, "cli:test"));
    store.revoke_grant(&name("alice"), listed[0].id, &by()).await.unwrap();
    let again = store.revoke_grant(&name("alice"), listed[0].id, &by()).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    let others = store.revoke_grant(&name("bob"), listed[1].id, &by()).await;
    assert!(matches!(others, Err(StoreError::NotFound(_))), "{others:?}");
    let found = usage(&bed, "alice", periods(0, 0, 0)).await;
    assert_eq!(found.granted_time(now), Duration::from_secs(60));
    // Who gets the name later begins anew.
    store.remove_user(&name("alice"), &by()).await.unwrap();
    store.add_user(&new_user("alice"), &by()).await.unwrap();
    assert_eq!(usage(&bed, "alice", periods(0, 0, 0)).await.grants, []);
    let audit = bed.texts("SELECT action FROM admin_audit WHERE action = 'user.grant'").await;
    assert_eq!(audit.len(), 4);
}

pub async fn no_number_of_an_operator_is_too_large_a_sum(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    for kind in ["time", "data"] {
        for _ in 0..2 {
            bed.sql(&format!(
                "INSERT INTO quota_grants (user_name, kind, amount, valid_until, created_at, actor) \
                 VALUES ('alice', '{kind}', 9223372036854775807, '2036-01-01 00:00:00.000', '2026-01-01 00:00:00.000', 'x')"
            ))
            .await;
        }
    }
    let found = usage(&bed, "alice", periods(0, 0, 0)).await;
    assert_eq!(found.granted_bytes(at(0)), u64::MAX - 1);
    assert_eq!(found.granted_time(at(0)), Duration::from_secs(u64::MAX - 1));
    if bed.backend != Backend::Sqlite {
        return;
    }
    // The others have no place for less than nothing.
    bed.sql("UPDATE quota_grants SET amount = -1 WHERE id = 1").await;
    let found = bed.store.usage(&[(name("alice"), periods(0, 0, 0))], at(0)).await;
    let text = "quota_grants.amount where id is `1`: is no amount";
    assert_eq!(found, Err(StoreError::Corrupt(text.into())));
}

pub async fn a_user_has_no_more_grants_than_can_be_read(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let row = "('alice', 'time', 60, '2036-01-01 00:00:00.000', '2026-01-01 00:00:00.000', 'x')";
    let rows = vec![row; 999].join(",");
    bed.sql(&format!(
        "INSERT INTO quota_grants (user_name, kind, amount, valid_until, created_at, actor) VALUES {rows}"
    ))
    .await;
    let grant = QuotaGrant { user: name("alice"), amount: Granted::Time(60), valid_until: at(DAY) };
    bed.store.grant_quota(&grant, &by()).await.unwrap();
    let refused = bed.store.grant_quota(&grant, &by()).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(text)) if text.contains("1000")),
        "{refused:?}"
    );
}

pub async fn hours_that_cannot_be_read_let_nobody_in(bed: Arc<Bed>) {
    let store = &bed.store;
    store.add_user(&new_user("alice"), &by()).await.unwrap();
    let hours = "mon-fri 08:00-18:00".parse().unwrap();
    let policy = PolicyRecord { name: "default".into(), hours, ..PolicyRecord::default() };
    store.put_policy(&policy, true, &by()).await.unwrap();
    let facts = store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.policy, policy);
    // As an operator's own tool may write them.
    bed.sql("INSERT INTO allowed_hours (policy, weekday, opens, closes) VALUES ('default', 6, '8:00', '9:00')")
        .await;
    let facts = store.facts(&name("alice"), None, None, at(0)).await;
    let Err(StoreError::Corrupt(text)) = facts else { panic!("{facts:?}") };
    assert!(text.contains("policies.hours") && text.contains("default"), "{text}");
    bed.sql("DELETE FROM allowed_hours").await;
    // More than MySQL puts into one text.
    for weekday in 1..=7 {
        for hour in 0..24 {
            let row = format!(
                "INSERT INTO allowed_hours (policy, weekday, opens, closes) \
                 VALUES ('default', {weekday}, '{hour:02}:00', '{hour:02}:30')"
            );
            bed.sql(&row).await;
        }
    }
    let facts = store.facts(&name("alice"), None, None, at(0)).await;
    assert!(matches!(facts, Err(StoreError::Corrupt(_))), "{facts:?}");
    let policy = PolicyRecord { name: "default".into(), ..PolicyRecord::default() };
    store.put_policy(&policy, true, &by()).await.unwrap();
    let facts = store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.policy, policy);
    if bed.backend == Backend::Sqlite {
        // The rows of a policy go with it.
        let gone =
            PolicyRecord { name: "p".into(), hours: "mon 08:00-09:00".parse().unwrap(), ..policy };
        store.put_policy(&gone, false, &by()).await.unwrap();
        store.remove_policy("p", &by()).await.unwrap();
        assert_eq!(bed.texts("SELECT opens FROM allowed_hours").await, [""; 0]);
    }
}
