//! Two daemons on one MariaDB: at the last place, and when its schema changes under them.

use ovpn_warden::store::{OnLimit, PolicyRecord};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, mysql::MySqlConnectOptions};

use super::*;

const OTHER: &str = "02:1a:2b:3c:4d:5f";
const ROUNDS: u32 = 20;

/// A database on the MariaDB of `make test`, dropped at the end.
pub(super) struct Database {
    pub(super) name: String,
    server: String,
}

impl Database {
    pub(super) async fn new() -> Self {
        let server = std::env::var("WARDEN_TEST_MARIADB_URL").expect("run `make test`");
        let name = format!("warden_{}", uuid::Uuid::now_v7().simple());
        let database = Self { name, server };
        database.sql(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    fn url(&self) -> String {
        format!("{}{}", self.server, self.name)
    }

    pub(super) async fn sql(&self, text: &str) {
        let options: MySqlConnectOptions = self.server.trim_end_matches('/').parse().unwrap();
        let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// A daemon's configuration on it, for this server.
    pub(super) async fn bed(&self, listener: &Listener, name: &str) -> Bed {
        let mut bed = Bed::new(listener).await.on(&self.url());
        bed.config.servers[0].name = name.parse().unwrap();
        bed
    }
}

/// What a login is answered; the client is in after `client-auth`.
async fn answer(controller: &mut Controller, cid: u32, mac: &str) -> String {
    answer_to(controller, cid, "alice", mac).await
}

async fn answer_to(controller: &mut Controller, cid: u32, user: &str, mac: &str) -> String {
    controller.connect(cid, user, "correct horse", Some(mac)).await;
    let line = controller.command().await;
    if line.starts_with("client-auth ") {
        while controller.command().await != "END" {}
        controller.establish(cid).await;
    } else {
        controller.say("SUCCESS: client-deny command succeeded\n").await;
    }
    line
}

/// Everybody may have one session.
async fn one_place(bed: &Bed) {
    let policy = PolicyRecord {
        name: "default".into(),
        max_sessions: Some(1),
        on_limit: Some(OnLimit::Deny),
        device_mode: Some(DeviceMode::Off),
        ..Default::default()
    };
    bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_that_race_for_the_last_place_on_two_daemons_one_gets_it() {
    let database = Database::new().await;
    let (one, two) = (Listener::tcp().await, Listener::tcp().await);
    let (first, second) = (database.bed(&one, "one").await, database.bed(&two, "two").await);
    first.store.migrate(false).await.unwrap();
    first.add_user("alice", "correct horse").await;
    one_place(&first).await;
    let daemons = [first.start(), second.start()];
    let mut controllers = [one.accept().await, two.accept().await];
    for controller in &mut controllers {
        controller.attach(RUN, &[]).await;
    }
    let mut won = [0; 2];
    for cid in 0..ROUNDS {
        let [a, b] = &mut controllers;
        let (a, b) = tokio::join!(answer(a, cid, MAC), answer(b, cid, OTHER));
        let is_in = [&a, &b].map(|line| line.starts_with("client-auth "));
        let denied = if is_in[0] { &b } else { &a };
        assert_eq!(is_in.iter().filter(|is_in| **is_in).count(), 1, "{a} / {b}");
        assert!(denied.contains("\"too_many_sessions\""), "{a} / {b}");
        let winner = usize::from(is_in[1]);
        won[winner] += 1;
        controllers[winner].disconnect(cid).await;
        let is_its = |s: &SessionRecord| s.cid.0 == cid && s.state == SessionState::Closed;
        first.any_session(is_its).await;
    }
    assert_eq!(
        first.sessions().await.len(),
        ROUNDS as usize,
        "who was refused has no row: {won:?}"
    );
    for daemon in daemons {
        daemon.stop().await;
    }
    first.store.close().await;
    second.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

/// As many places of a login and of what goes on beside it are tried.
const BROKEN: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_that_race_while_the_database_breaks_off_never_both_get_the_place() {
    let database = Database::new().await;
    let (one, two) = (Listener::tcp().await, Listener::tcp().await);
    let (mut first, mut second) =
        (database.bed(&one, "one").await, database.bed(&two, "two").await);
    first.store.migrate(false).await.unwrap();
    for number in 0..BROKEN {
        first.add_user(&format!("user{number}"), "correct horse").await;
    }
    one_place(&first).await;
    let direct = first.url();
    let proxies = [first.behind_a_proxy().await, second.behind_a_proxy().await];
    let daemons = [first.start(), second.start()];
    let mut controllers = [one.accept().await, two.accept().await];
    for controller in &mut controllers {
        controller.attach(RUN, &[]).await;
    }
    let (mut is_in, mut put_off) = (Vec::new(), 0);
    for cid in 0..BROKEN {
        // The server takes that request, and its answer is lost with the connection.
        for (proxy, step) in proxies.iter().zip([3, 7]) {
            proxy.cut_at(1 + (cid * step % 11) as isize);
        }
        let user = format!("user{cid}");
        let [a, b] = &mut controllers;
        let (a, b) = tokio::join!(answer_to(a, cid, &user, MAC), answer_to(b, cid, &user, OTHER));
        let lines = [("one", a), ("two", b)];
        let won = |line: &str| line.starts_with("client-auth ");
        assert!(!lines.iter().all(|(_, line)| won(line)), "both have it: {lines:?}");
        for (server, line) in lines {
            match won(&line) {
                true => is_in.push((server, cid)),
                false if line.contains("TEMP") => put_off += 1,
                false => assert!(line.contains("\"too_many_sessions\""), "{line}"),
            }
        }
    }
    // Most are decided all the same, and some could not be.
    assert!(is_in.len() > BROKEN as usize / 2 && put_off > 0, "{} in, {put_off} off", is_in.len());
    let bed = first.on(&direct);
    let mut rows = Vec::new();
    for _ in 0..200 {
        rows = bed.sessions().await;
        rows.retain(|row| row.state == SessionState::Active);
        if rows.len() >= is_in.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut open: Vec<_> = rows.iter().map(|row| (row.server.as_str(), row.cid.0)).collect();
    open.sort_by_key(|(_, cid)| *cid);
    assert_eq!(open, is_in, "whoever is in has one row, and nobody else");
    for daemon in daemons {
        daemon.stop().await;
    }
    bed.store.close().await;
    second.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

#[tokio::test]
async fn a_schema_that_changes_under_it_denies_for_a_moment_and_loses_no_row() {
    let database = Database::new().await;
    let listener = Listener::tcp().await;
    let bed = database.bed(&listener, "udp").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    assert!(answer(&mut controller, 0, MAC).await.starts_with("client-auth 0 "));
    bed.session(|session| session.state == SessionState::Active).await;
    let name = &database.name;
    let columns = [
        ("devices RENAME COLUMN status TO away", "devices RENAME COLUMN away TO status"),
        ("users RENAME COLUMN password_hash TO away", "users RENAME COLUMN away TO password_hash"),
        ("sessions RENAME TO away", "away RENAME TO sessions"),
    ];
    let mut came = Vec::new();
    for (cid, (change, back)) in (1..).step_by(10).zip(columns) {
        let alter = async |what: &str| {
            let (table, rest) = what.split_once(' ').unwrap();
            let rest = rest.replace("RENAME TO ", &format!("RENAME TO {name}."));
            database.sql(&format!("ALTER TABLE {name}.{table} {rest}")).await;
        };
        alter(change).await;
        let line = answer(&mut controller, cid, MAC).await;
        let is_in = line.starts_with("client-auth ");
        assert!(line.contains("TEMP") || is_in && change.starts_with("sessions"), "{line}");
        if is_in {
            controller.disconnect(cid).await;
            came.push(cid);
        }
        alter(back).await;
        let mut next = cid + 1;
        while !answer(&mut controller, next, MAC).await.starts_with("client-auth ") {
            next += 1;
            assert!(next < cid + 9, "logins do not come back after {change}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        controller.disconnect(next).await;
        let closed = |s: &SessionRecord| s.cid.0 == next && s.state == SessionState::Closed;
        let row = bed.any_session(closed).await;
        assert_eq!((row.bytes_received, row.bytes_sent), (4_000, 5_000));
    }
    // Who came and went without a table is in it, too; who was in all the time still is.
    for cid in came {
        bed.any_session(|s| s.cid.0 == cid && s.state == SessionState::Closed).await;
    }
    bed.any_session(|s| s.cid.0 == 0 && s.state == SessionState::Active).await;
    daemon.stop().await;
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {name}")).await;
}
