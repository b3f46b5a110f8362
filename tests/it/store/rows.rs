//! How long each call takes on a table of ten million sessions, beside one of a hundred thousand, and its bound.
//!
//! `make test-rows`; it takes a quarter of an hour and 10 GB of disk, and prints a table.

use std::{
    fmt::Write as _,
    future::Future,
    time::{Duration, Instant},
};

use ovpn_warden::{
    store::{Claim, OnLimit, Place, SessionFilter, SessionRecord, SessionState, SpanCursor},
    types::{Cause, SessionId, Timestamp, Zone},
};

use super::bed::{Backend, Bed, name, new_user, session, with};

const FEW: u64 = 100_000;
const MANY: u64 = 10_000_000;
/// Users, each with one open session.
const USERS: u32 = 10_000;
const SERVERS: u32 = 8;
/// Between two sessions of the history, in ms: ten million in a year.
const PACE: u64 = 3_150;
/// What a login may wait for, what an operator may wait for, and what the daemon does beside, each on the large
/// table.
const BOUNDS: [(&str, Duration); 3] = [
    ("login", Duration::from_millis(10)),
    ("operator", Duration::from_millis(100)),
    ("beside", Duration::from_millis(1_000)),
];

/// The history's rows `from` to `until`: the youngest has the highest number.
async fn history(bed: &Bed, from: u64, until: u64) {
    const CHUNK: u64 = 100_000;
    for from in (from..until).step_by(usize::try_from(CHUNK).unwrap()) {
        let sql = format!(
            "INSERT INTO sessions (id, version, state, server, run_started, cid, user_name, device, device_kind, \
               client_ip, client_port, vpn_ip, client_version, client_platform, started_at, updated_at, \
               expiry_action, ended_at, cause, duration_s, bytes_received, bytes_sent) \
             SELECT CONCAT(SUBSTR(h, 1, 8), '-', SUBSTR(h, 9, 4), '-7000-8000-', LPAD(LOWER(HEX(n)), 12, '0')), \
               3, 'closed', CONCAT('server', n % {SERVERS}), '2025-11-01', n, u, d, 'mac', '192.0.2.7', 40000, \
               '10.8.0.6', '2.6.14', 'linux', s, s + INTERVAL 1800 SECOND, 'halt', s + INTERVAL 1800 SECOND, \
               'session_limit', 1800, 1000000, 9000000 \
             FROM (SELECT n, u, d, s, LPAD(LOWER(HEX(ROUND(UNIX_TIMESTAMP(s) * 1000))), 12, '0') AS h FROM \
               (SELECT n, CONCAT('user', n * 7919 % {USERS}) AS u, \
                 CONCAT('02:00:00:00:', LPAD(LOWER(HEX(n * 7919 % {USERS} DIV 256)), 2, '0'), ':', \
                   LPAD(LOWER(HEX(n * 7919 % {USERS} % 256)), 2, '0')) AS d, \
                 TIMESTAMP('2025-11-20') + INTERVAL n * {PACE} * 1000 MICROSECOND AS s \
               FROM (SELECT {from} + a.n * 1000 + b.n AS n FROM numbers a, numbers b \
                 WHERE a.n < {}) AS numbered) AS timed) AS named ORDER BY n",
            CHUNK / 1_000
        );
        bed.sql(&sql).await;
    }
}

/// What the sessions of the last month used, as closing them leaves it.
async fn used(bed: &Bed) {
    bed.sql(
        "INSERT IGNORE INTO usage_periods SELECT user_name, DATE(started_at), id, 1800000, bytes_received, bytes_sent \
         FROM sessions WHERE state = 'closed' AND started_at >= \
         (SELECT MAX(started_at) - INTERVAL 31 DAY FROM sessions WHERE state = 'closed')",
    )
    .await;
    bed.sql("ANALYZE TABLE sessions, usage_periods, users").await;
}

/// The open sessions, of the moment when everything is measured.
fn open(now: Timestamp, version: u32) -> Vec<SessionRecord> {
    (0..USERS)
        .map(|number| SessionRecord {
            id: SessionId::new(
                now,
                [[0; 6].as_slice(), &number.to_be_bytes()].concat().try_into().unwrap(),
            ),
            version,
            state: SessionState::Active,
            user: name(&format!("user{number}")),
            server: format!("server{}", number % SERVERS).parse().unwrap(),
            started_at: now,
            updated_at: now,
            deadline: Some(now.saturating_add(Duration::from_secs(28_800))),
            bytes_received: u64::from(version) * 1_000,
            ..session(number)
        })
        .collect()
}

/// The median of some calls.
async fn median<F: Future<Output = ()>>(calls: u32, mut call: impl FnMut(u32) -> F) -> Duration {
    let mut took = Vec::new();
    for number in 0..calls {
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let begun = Instant::now();
        call(number).await;
        took.push(begun.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

/// Each call of the store that a daemon or an operator waits for.
async fn measure(bed: &Bed, now: Timestamp) -> Vec<(&'static str, Duration)> {
    let store = &*bed.store;
    let user = |n: u32| name(&format!("user{}", n * 37 % USERS));
    let server = |n: u32| format!("server{}", n % SERVERS).parse().unwrap();
    let mut took = Vec::new();
    let filter = SessionFilter { ended: true, limit: 50, ..SessionFilter::default() };
    let day = Duration::from_secs(86_400);
    let device = session(0).device;

    took.push((
        "login: facts",
        median(201, async |n| {
            assert!(store.facts(&user(n), device.as_ref(), None, now).await.unwrap().is_some());
        })
        .await,
    ));
    took.push((
        "login: a place among max_sessions",
        median(51, async |n| {
            let (user, server) = (user(n), server(n));
            let session = SessionId::new(now, rand::random());
            let claim = Claim {
                session,
                server: &server,
                user: &user,
                device: None,
                max: 50,
                on_limit: OnLimit::Deny,
                code: None,
            };
            assert_eq!(store.claim(&claim, now).await.unwrap(), Place::Taken);
        })
        .await,
    ));
    took.push((
        "login: quotas used",
        median(51, async |n| {
            let users = [(user(n), Zone::default().began(now))];
            assert!(!store.usage(&users, now).await.unwrap()[0].open.is_empty());
        })
        .await,
    ));
    // Of users about whom nobody has asked yet, and of the same once more, as the daemon does.
    for call in ["beside: quotas of 100 users, first", "beside: quotas of 100 users, again"] {
        took.push((
            call,
            median(21, async |n| {
                let of = |k| {
                    let user = name(&format!("user{}", (n * 100 + k) % USERS));
                    (user, Zone::default().began(now))
                };
                let users: Vec<_> = (0..100).map(of).collect();
                assert_eq!(store.usage(&users, now).await.unwrap().len(), 100);
            })
            .await,
        ));
    }
    took.push((
        "beside: requests",
        median(51, async |n| {
            assert!(store.pending_commands(&[server(n)]).await.unwrap().commands.is_empty());
        })
        .await,
    ));
    took.push((
        "beside: 1,250 sessions that may have to end",
        median(11, async |n| {
            assert_eq!(store.standings(&[server(n)]).await.unwrap().len(), 1_250);
        })
        .await,
    ));
    took.push((
        "beside: 1,250 open sessions",
        median(11, async |n| {
            assert_eq!(store.open_sessions(&server(n)).await.unwrap().sessions.len(), 1_250);
        })
        .await,
    ));
    let rows = open(now, 0);
    took.push((
        "beside: accounting, 1,000 rows",
        median(9, async |n| {
            let rows: Vec<_> = rows[..1_000]
                .iter()
                .cloned()
                .map(|row| SessionRecord { version: n + 10, ..row })
                .collect();
            store.persist(&rows).await.unwrap();
        })
        .await,
    ));
    took.push((
        "beside: 1,000 sessions end",
        median(5, async |n| {
            let from = 2_000 + n as usize * 1_000;
            let end = |row: &SessionRecord| SessionRecord {
                version: 100,
                state: SessionState::Closed,
                ended_at: Some(now),
                cause: Some(Cause::Admin),
                ..row.clone()
            };
            let rows: Vec<_> = rows[from..from + 1_000].iter().map(end).collect();
            store.persist(&rows).await.unwrap();
        })
        .await,
    ));
    took.push((
        "operator: session history of a user",
        median(21, async |n| {
            let filter = SessionFilter { user: Some(user(n)), ..filter.clone() };
            assert!(!store.sessions(&filter).await.unwrap().is_empty());
        })
        .await,
    ));
    took.push((
        "operator: session history of a device",
        median(21, async |n| {
            let filter = SessionFilter {
                device: Some(format!("02:00:00:00:00:{:02x}", n % 256)),
                ..filter.clone()
            };
            assert!(!store.sessions(&filter).await.unwrap().is_empty());
        })
        .await,
    ));
    took.push((
        "operator: session history of an hour",
        median(21, async |_| {
            let (since, until) =
                (now.saturating_sub(2 * day), now.saturating_sub(2 * day - day / 24));
            let filter = SessionFilter { since: Some(since), until: Some(until), ..filter.clone() };
            assert_eq!(store.sessions(&filter).await.unwrap().len(), 50);
        })
        .await,
    ));
    took.push((
        "operator: session list",
        median(21, async |_| {
            let filter = SessionFilter { ended: false, limit: 100, ..filter.clone() };
            assert_eq!(store.sessions(&filter).await.unwrap().len(), 100);
        })
        .await,
    ));
    took.push((
        "operator: session show, by the start of its id",
        median(21, async |n| {
            let id = rows[n as usize].id.to_string();
            assert!(!store.sessions_by_prefix(&id[..30]).await.unwrap().is_empty());
        })
        .await,
    ));
    took.push((
        "operator: report expiring",
        median(21, async |_| {
            let until = now.saturating_add(day);
            assert_eq!(store.expiring_sessions(until, 100).await.unwrap().len(), 100);
        })
        .await,
    ));
    took.push((
        "operator: report usage, a user's last day",
        median(21, async |n| {
            let page = store
                .spans(Some(&user(n)), now.saturating_sub(day), now, SpanCursor::default())
                .await;
            page.unwrap();
        })
        .await,
    ));
    took.push((
        "beside: retention, a batch of 500",
        median(5, async |_| {
            let old = store.ended(None, now.saturating_sub(day), 500).await.unwrap();
            let old: Vec<_> = old.into_iter().map(|session| session.cursor.id).collect();
            assert_eq!(store.remove_sessions(&old).await.unwrap(), 500);
        })
        .await,
    ));
    took.push((
        "beside: old days of usage, a batch of 500",
        median(5, async |_| {
            assert!(store.fold_usage(now.saturating_sub(2 * day), 500).await.unwrap() > 0);
        })
        .await,
    ));
    took
}

async fn compare(bed: std::sync::Arc<Bed>) {
    let digits: Vec<_> = (0..1_000).map(|n| format!("({n})")).collect();
    bed.sql("CREATE TABLE numbers (n BIGINT PRIMARY KEY)").await;
    bed.sql(&format!("INSERT INTO numbers VALUES {}", digits.join(","))).await;
    for number in 0..USERS {
        bed.store.add_user(&new_user(&format!("user{number}")), &super::bed::by()).await.unwrap();
    }
    // The youngest of the history has just ended.
    let began: Timestamp = "2025-11-20T00:00:00Z".parse().unwrap();
    let now = began.saturating_add(Duration::from_millis(MANY * PACE) + Duration::from_secs(3_600));

    history(&bed, MANY - FEW, MANY).await;
    used(&bed).await;
    bed.store.persist(&open(now, 1)).await.unwrap();
    let few = measure(&bed, now).await;

    history(&bed, 0, MANY - FEW).await;
    used(&bed).await;
    // Those that were ended above are there again, as others.
    let again: Vec<_> =
        open(now.saturating_add(Duration::from_millis(1)), 1).drain(2_000..7_000).collect();
    bed.store.persist(&again).await.unwrap();
    let many = measure(&bed, now.saturating_add(Duration::from_millis(1))).await;

    let mut report = format!("\n{:?}: {} and {} sessions, ms\n", bed.backend, FEW, MANY);
    for ((call, few), (_, many)) in few.into_iter().zip(many) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (_, bound) = BOUNDS.iter().find(|(kind, _)| call.starts_with(kind)).unwrap();
        let is_slow = many > *bound;
        let verdict = if is_slow { "MISS" } else { "MET" };
        writeln!(report, "{verdict:5} {call:50} {:9.2} {:9.2}", ms(few), ms(many)).unwrap();
    }
    #[expect(clippy::print_stdout, reason = "what the target is for")]
    {
        println!("{report}");
    }
}

#[tokio::test]
#[ignore = "a quarter of an hour: make test-rows"]
async fn ten_million_sessions_are_no_slower_on_mariadb() {
    with(Backend::MariaDb, compare).await;
}

#[tokio::test]
#[ignore = "a quarter of an hour: make test-rows"]
async fn ten_million_sessions_are_no_slower_on_mysql() {
    with(Backend::MySql, compare).await;
}
