//! What only a database server can show: round trips, lost connections, fail-over.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use ovpn_warden::{
    store::{Claim, OnLimit, Options, Place, Schema, SessionRecord, Store, StoreError, open},
    types::Clock,
};

use sqlx::{ConnectOptions as _, mysql::MySqlConnectOptions};

use super::{
    bed::{Backend, Bed, MAC, at, by, id, name, new_user, options, session, store},
    proxy::{Mode, Proxy},
};

macro_rules! on_servers {
    ($($case:ident)+) => {
        mod mariadb { $(#[tokio::test]
            async fn $case() { super::super::bed::with(super::Backend::MariaDb, super::$case).await; }
        )+ }
        mod mysql { $(#[tokio::test]
            async fn $case() { super::super::bed::with(super::Backend::MySql, super::$case).await; }
        )+ }
    };
}
pub(super) use on_servers;

on_servers! {
    facts_take_one_round_trip
    logins_at_the_same_moment_share_round_trips
    places_of_the_same_moment_share_transactions
    a_killed_connection_is_replaced_unnoticed
    a_server_that_is_gone_is_unavailable_and_comes_back
    a_server_that_hangs_holds_nobody_up_and_comes_back
    a_login_that_is_given_up_keeps_its_connection
    a_wrong_password_is_told_without_the_password
    a_database_that_is_not_there_is_named
    the_next_host_takes_over
    a_host_that_hangs_is_left_before_its_statements_are_given_up
    a_table_that_is_missing_is_named
    a_table_or_column_that_is_away_is_named_until_it_is_back
    what_is_written_sees_what_others_have_committed_meanwhile
    a_row_lock_that_outlasts_the_servers_patience_is_waited_for_again
    a_migration_that_a_long_transaction_holds_up_does_not_hold_up_the_others
    the_victim_of_a_deadlock_is_run_again
    a_connection_lost_at_any_step_of_a_transaction_changes_all_or_nothing
}

/// Everything of a URL but its hosts.
pub fn with_hosts(url: &str, hosts: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    let (_, database) = rest.split_once('/').unwrap();
    format!("{scheme}://{user}@{hosts}/{database}")
}

pub fn port(url: &str) -> u16 {
    let rest = url.rsplit_once('@').unwrap().1;
    rest.split_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap()
}

async fn proxied(bed: &Bed) -> (Proxy, String) {
    let proxy = Proxy::start(port(&bed.url)).await;
    let url = with_hosts(&bed.url, &format!("127.0.0.1:{}", proxy.port));
    (proxy, url)
}

async fn facts_take_one_round_trip(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = store(&format!("{url}?ssl-mode=DISABLED"));
    bed.add_user("alice").await;
    let ask =
        async || store.facts(&name("alice"), Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    ask().await;
    let before = proxy.requests();
    for _ in 0..10 {
        ask().await;
    }
    assert_eq!(proxy.requests() - before, 10);
    assert_eq!(proxy.connections(), 1);
}

async fn logins_at_the_same_moment_share_round_trips(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = store(&format!("{url}?ssl-mode=DISABLED"));
    let users: Vec<_> = (0..64).map(|number| name(&format!("user{number}"))).collect();
    for user in &users {
        bed.add_user(user.as_str()).await;
    }
    let ask = async || {
        let facts = users.iter().map(|user| store.facts(user, None, None, at(0)));
        let before = proxy.requests();
        for (facts, user) in join_all(facts).await.into_iter().zip(&users) {
            assert_eq!(facts.unwrap().unwrap().user.name, *user);
        }
        proxy.requests() - before
    };
    // Connections and statements are made.
    ask().await;
    ask().await;
    // One alone, and the others by sixteen at most: more where the machine is slow, as they are
    // asked side by side then.
    let trips = ask().await;
    assert!((5..=32).contains(&trips), "{trips}");
}

async fn places_of_the_same_moment_share_transactions(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = store(&format!("{url}?ssl-mode=DISABLED"));
    let users: Vec<_> = (0..64).map(|number| name(&format!("user{number}"))).collect();
    for user in &users {
        bed.add_user(user.as_str()).await;
    }
    let server = session(1).server;
    let take = async |round: u32, count: usize| {
        let claims: Vec<_> = (round * 64..)
            .zip(&users[..count])
            .map(|(number, user)| Claim {
                session: session(number).id,
                server: &server,
                user,
                device: None,
                max: 1_000,
                on_limit: OnLimit::Deny,
                code: None,
            })
            .collect();
        let before = proxy.requests();
        let taken = join_all(claims.iter().map(|claim| store.claim(claim, at(0)))).await;
        assert!(taken.into_iter().all(|place| place == Ok(Place::Taken)));
        proxy.requests() - before
    };
    // Connections and statements are made.
    for round in 0..4 {
        take(round, 64).await;
    }
    take(4, 1).await;
    // It begins, waits for others, sees what there is, writes, and commits.
    assert_eq!(take(5, 1).await, 5);
    // Each alone would take 320.
    let trips = take(6, 64).await;
    assert!((10..=160).contains(&trips), "{trips}");
}

async fn a_killed_connection_is_replaced_unnoticed(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let kill = async || {
        let mut raw = bed.raw().await;
        let list = format!(
            "SELECT id FROM information_schema.processlist \
             WHERE db = '{}' AND id <> CONNECTION_ID()",
            bed.database
        );
        let ids = raw.texts(&list).await;
        assert!(!ids.is_empty());
        for id in ids {
            raw.run(&format!("KILL {id}")).await;
        }
        // A killed connection is gone a moment later.
        while !raw.texts(&list).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    kill().await;
    assert!(bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some());
    kill().await;
    assert_eq!(bed.store.persist(&[session(1)]).await, Ok(()));
    kill().await;
    let many: Vec<_> = (2..300).map(session).collect();
    assert_eq!(bed.store.persist(&many).await, Ok(()));
    kill().await;
    assert_eq!(bed.store.add_user(&new_user("bob"), &by()).await, Ok(()));
}

/// Short limits, for what is meant to fail.
fn impatient(url: &str) -> Arc<dyn Store> {
    open(&Options {
        connect_timeout: Duration::from_millis(1_500),
        statement_timeout: Duration::from_millis(500),
        ..options(url)
    })
    .unwrap()
}

async fn a_server_that_is_gone_is_unavailable_and_comes_back(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = impatient(&url);
    bed.add_user("alice").await;
    let facts = async || store.facts(&name("alice"), None, None, at(0)).await;
    assert!(facts().await.unwrap().is_some());
    proxy.set(Mode::Cut);
    for _ in 0..2 {
        let failed = facts().await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        let failed = store.persist(&[session(1)]).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }
    proxy.set(Mode::Open);
    assert!(facts().await.unwrap().is_some());
    store.persist(&[session(1)]).await.unwrap();

    let nobody = with_hosts(&bed.url, "127.0.0.1:1");
    let Err(StoreError::Unavailable(text)) = impatient(&nobody).ping().await else {
        panic!("nobody listens there")
    };
    assert!(text.starts_with("127.0.0.1:1: ") && text.contains("refused"), "{text}");
}

async fn a_server_that_hangs_holds_nobody_up_and_comes_back(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = impatient(&url);
    bed.add_user("alice").await;
    assert!(store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some());
    proxy.set(Mode::Stalled);
    let begun = tokio::time::timeout(Duration::from_secs(8), async {
        let logins: Vec<_> = (0..25)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.facts(&name("alice"), None, None, at(0)).await })
            })
            .collect();
        for login in logins {
            let failed = login.await.unwrap();
            assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        }
    })
    .await;
    assert!(begun.is_ok(), "somebody waits for ever");
    proxy.set(Mode::Open);
    assert!(store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some());
}

async fn a_login_that_is_given_up_keeps_its_connection(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = store(&url);
    store.ping().await.unwrap();
    proxy.set(Mode::Stalled);
    let alice = name("alice");
    let given_up = store.facts(&alice, None, None, at(0));
    assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
    proxy.set(Mode::Open);
    for _ in 0..5 {
        assert_eq!(store.facts(&name("alice"), None, None, at(0)).await, Ok(None));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(proxy.connections() <= 2, "{}", proxy.connections());
    let before = proxy.connections();
    store.ping().await.unwrap();
    assert_eq!(proxy.connections(), before);
}

async fn a_wrong_password_is_told_without_the_password(bed: Arc<Bed>) {
    let url = bed.url.replacen(":warden@", ":can%61ry-password@", 1);
    assert_ne!(url, bed.url);
    let refused = store(&url).ping().await;
    let Err(StoreError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("Access denied for user 'warden'"), "{text}");
    assert!(!text.contains("canary") && !text.contains("password@"), "{text}");
}

async fn a_database_that_is_not_there_is_named(bed: Arc<Bed>) {
    let url = bed.url.replace(&bed.database, "warden_nowhere");
    let refused = store(&url).schema().await;
    let Err(StoreError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("warden_nowhere"), "{text}");
}

async fn the_next_host_takes_over(bed: Arc<Bed>) {
    let (one, two) = (Proxy::start(port(&bed.url)).await, Proxy::start(port(&bed.url)).await);
    let hosts = format!("127.0.0.1:1,127.0.0.1:{},127.0.0.1:{}", one.port, two.port);
    let store = impatient(&with_hosts(&bed.url, &hosts));
    bed.add_user("alice").await;
    let facts = async || store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some();
    assert!(facts().await);
    assert_eq!((one.connections(), two.connections()), (1, 0), "in their order");
    one.set(Mode::Cut);
    assert!(facts().await, "not even one login notices");
    store.persist(&[session(1)]).await.unwrap();
    assert!(two.connections() > 0);
    one.set(Mode::Open);
    let before = one.connections();
    assert!(facts().await);
    assert_eq!(one.connections(), before, "it stays where it works");
    two.set(Mode::Cut);
    assert!(facts().await);
    assert!(one.connections() > before);
    one.set(Mode::Cut);
    let Err(StoreError::Unavailable(text)) = store.ping().await else { panic!("all are gone") };
    for port in [1, one.port, two.port] {
        assert!(text.contains(&format!("127.0.0.1:{port}: ")), "{text}");
    }
}

async fn a_host_that_hangs_is_left_before_its_statements_are_given_up(bed: Arc<Bed>) {
    let (one, two) = (Proxy::start(port(&bed.url)).await, Proxy::start(port(&bed.url)).await);
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", one.port, two.port);
    let store = open(&Options {
        connect_timeout: Duration::from_secs(4),
        statement_timeout: Duration::from_secs(30),
        ..options(&with_hosts(&bed.url, &hosts))
    })
    .unwrap();
    bed.add_user("alice").await;
    assert!(store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some());
    assert_eq!(two.connections(), 0);
    one.set(Mode::Stalled);
    let clock = Clock::new();
    let begun = clock.now().mono;
    let logins: Vec<_> = (0..25)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.facts(&name("alice"), None, None, at(0)).await })
        })
        .collect();
    let row = [session(1)];
    let written = store.persist(&row).await;
    for login in logins {
        // Those that could not even begin are told so; nobody waits for the thirty seconds.
        let found = login.await.unwrap();
        assert!(matches!(found, Ok(Some(_)) | Err(StoreError::Unavailable(_))), "{found:?}");
    }
    assert!(
        (clock.now().mono - begun) < Duration::from_secs(15),
        "{:?}",
        (clock.now().mono - begun)
    );
    assert!(matches!(written, Ok(()) | Err(StoreError::Unavailable(_))), "{written:?}");
    assert!(two.connections() > 0);
    assert!(store.facts(&name("alice"), None, None, at(0)).await.unwrap().is_some());
    assert_eq!(store.persist(&row).await, Ok(()));
}

async fn a_table_that_is_missing_is_named(bed: Arc<Bed>) {
    bed.sql("DROP TABLE devices").await;
    let refused = bed.store.devices(None, 1).await;
    let Err(StoreError::Schema(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("devices"), "{text}");
}

async fn a_table_or_column_that_is_away_is_named_until_it_is_back(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let facts = async || bed.store.facts(&name("alice"), None, None, at(0)).await;
    assert!(facts().await.unwrap().is_some());
    for (change, back, word) in [
        ("users RENAME TO away", "away RENAME TO users", "users"),
        (
            "users RENAME COLUMN password_hash TO away",
            "users RENAME COLUMN away TO password_hash",
            "password_hash",
        ),
    ] {
        bed.sql(&format!("ALTER TABLE {change}")).await;
        // What was prepared before is prepared again by the server, and fails as well.
        let refused = facts().await;
        let Err(StoreError::Schema(text)) = refused else { panic!("{change}: {refused:?}") };
        assert!(text.contains(word), "{text}");
        bed.sql(&format!("ALTER TABLE {back}")).await;
        assert!(facts().await.unwrap().is_some(), "{back}");
    }
    bed.sql("ALTER TABLE sessions RENAME TO away").await;
    let refused = bed.store.persist(&[session(1)]).await;
    assert!(matches!(refused, Err(StoreError::Schema(_))), "{refused:?}");
    bed.sql("ALTER TABLE away RENAME TO sessions").await;
    assert_eq!(bed.store.persist(&[session(1)]).await, Ok(()));
}

async fn the_victim_of_a_deadlock_is_run_again(bed: Arc<Bed>) {
    bed.store.persist(&[session(1), session(2)]).await.unwrap();
    let of = |number: u32| session(number).id;
    let mut other = bed.raw().await;
    // It has changed more, so that the store's transaction is the one that has to go.
    other.run("BEGIN; CREATE TEMPORARY TABLE much (n INT PRIMARY KEY)").await;
    let values: Vec<_> = (0..2_000).map(|n| format!("({n})")).collect();
    other.run(&format!("INSERT INTO much VALUES {}", values.join(", "))).await;
    other.run(&format!("UPDATE sessions SET cid = cid WHERE id = '{}'", of(2))).await;
    other.run(&format!("SELECT * FROM sessions WHERE id = '{}' FOR UPDATE", of(2))).await;
    let newer = [1, 2].map(|number| SessionRecord { version: 2, ..session(number) });
    let writing = bed.store.persist(&newer);
    let crossing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        other.run(&format!("SELECT * FROM sessions WHERE id = '{}' FOR UPDATE", of(1))).await;
        other.run("COMMIT").await;
    };
    let (written, ()) = tokio::join!(writing, crossing);
    assert_eq!(written, Ok(()));
    for row in newer {
        assert_eq!(bed.store.session(row.id).await, Ok(Some(row)));
    }
}

async fn a_connection_lost_at_any_step_of_a_transaction_changes_all_or_nothing(bed: Arc<Bed>) {
    let (proxy, url) = proxied(&bed).await;
    let store = store(&format!("{url}?ssl-mode=DISABLED"));
    let mut unknown = 0;
    for step in 1..=8 {
        store.ping().await.unwrap();
        proxy.cut_at(step);
        let rows: Vec<_> = (0..3).map(|n| session(step as u32 * 10 + n)).collect();
        assert_eq!(store.persist(&rows).await, Ok(()), "step {step}");
        for row in rows {
            assert_eq!(bed.store.session(row.id).await, Ok(Some(row)));
        }
        let user = format!("user{step}");
        store.ping().await.unwrap();
        proxy.cut_at(step);
        let added = store.add_user(&new_user(&user), &by()).await;
        proxy.cut_at(0);
        let count = format!(
            "SELECT CAST((SELECT COUNT(*) FROM users WHERE name = '{user}') * 10 + \
             (SELECT COUNT(*) FROM admin_audit WHERE target = '{user}') AS CHAR)"
        );
        let found = bed.texts(&count).await[0].clone();
        match added {
            Ok(()) => assert_eq!(found, "11", "step {step}"),
            Err(StoreError::Unavailable(text)) => {
                assert!(text.contains("may have been made"), "{text}");
                assert!(["0", "11"].contains(&found.as_str()), "step {step}: {found}");
                unknown += 1;
            }
            Err(error) => panic!("step {step}: {error}"),
        }
    }
    assert_eq!(bed.texts("SELECT CAST(COUNT(*) AS CHAR) FROM sessions").await, ["24"]);
    assert!(unknown <= 1, "only of a COMMIT nobody can know");
}

async fn what_is_written_sees_what_others_have_committed_meanwhile(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    let mut holder = bed.raw().await;
    holder.run("BEGIN; SELECT id FROM sessions FOR UPDATE").await;
    let newer = [SessionRecord { version: 2, ..session(1) }];
    let write = bed.store.persist(&newer);
    // Only the server's own root sees at which level a transaction waits.
    let folder = match bed.backend {
        Backend::MySql => "WARDEN_TEST_MYSQL_DIR",
        Backend::MariaDb | Backend::Sqlite => "WARDEN_TEST_MARIADB_DIR",
    };
    let socket = format!("{}/sock", std::env::var(folder).unwrap());
    let look = async {
        let root = MySqlConnectOptions::new().socket(socket).username("root");
        let mut root = root.connect().await.unwrap();
        let mut found = Vec::new();
        for _ in 0..20 {
            let levels = "SELECT CAST(t.trx_isolation_level AS CHAR) FROM information_schema.innodb_trx t \
                          JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
                          WHERE t.trx_state = 'LOCK WAIT' AND p.db = ?";
            found =
                sqlx::query_scalar(levels).bind(&bed.database).fetch_all(&mut root).await.unwrap();
            if !found.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        holder.run("COMMIT").await;
        found
    };
    let (written, levels): (_, Vec<String>) = tokio::join!(write, look);
    assert_eq!(written, Ok(()));
    assert_eq!(levels, ["READ COMMITTED"]);
}

async fn a_row_lock_that_outlasts_the_servers_patience_is_waited_for_again(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    let mut holder = bed.raw().await;
    holder.run("BEGIN; SELECT id FROM sessions FOR UPDATE").await;
    let mut newer = session(1);
    newer.version = 2;
    let batch = [newer.clone()];
    let write = bed.store.persist(&batch);
    // The server gives up after 3 s, which on its own would be an error.
    let release = async {
        tokio::time::sleep(Duration::from_millis(3_700)).await;
        holder.run("COMMIT").await;
    };
    let (written, ()) = tokio::join!(write, release);
    assert_eq!(written, Ok(()));
    assert_eq!(bed.store.session(newer.id).await, Ok(Some(newer)));
}

async fn a_migration_that_a_long_transaction_holds_up_does_not_hold_up_the_others(bed: Arc<Bed>) {
    bed.store.persist(&[session(1)]).await.unwrap();
    bed.sql("ALTER TABLE sessions DROP COLUMN session_timeout_s").await;
    bed.sql("DELETE FROM _sqlx_migrations WHERE version = 20261202110000").await;
    let mut holder = bed.raw().await;
    holder.run("BEGIN; SELECT id FROM sessions").await;
    let reader = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bed.raw().await.run("SELECT id FROM sessions").await;
    };
    let both = async { tokio::join!(bed.store.migrate(false), reader) };
    let (refused, ()) = tokio::time::timeout(Duration::from_secs(6), both).await.unwrap();
    let Err(StoreError::Schema(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("20261202110000") && text.contains("again"), "{text}");
    assert_eq!(bed.store.schema().await, Ok(Schema::Behind(1)));
    holder.run("COMMIT").await;
    bed.store.migrate(false).await.unwrap();
    assert_eq!(bed.store.schema().await, Ok(Schema::Current));
}
