//! A MariaDB or MySQL that is there and unwell: it takes no writes, has no place for us, or is slow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ovpn_warden::store::{PolicyRecord, SessionRecord, SessionState, UserPatch};
use serde_json::Value;
use sqlx::{Connection as _, MySqlConnection, mysql::MySqlConnectOptions};

use super::{
    Bed, Controller, Listener, MAC, RUN, client_row,
    metrics::{beside_with, run},
    own_server::{Server, sql},
    race::Database,
    server::status,
};
use crate::store::{proxy::Mode, servers::port};

const PASSWORD: &str = "correct horse";

/// A server of OpenVPN that knows who is in, and does as it is told.
struct Vpn {
    controller: Controller,
    clients: BTreeMap<u32, String>,
    /// Who had to go.
    killed: BTreeSet<u32>,
}

impl Vpn {
    fn new(controller: Controller) -> Self {
        Self { controller, clients: BTreeMap::new(), killed: BTreeSet::new() }
    }

    /// The next command that is none of the daemon's own questions.
    async fn command(&mut self) -> String {
        loop {
            let line = self.controller.command().await;
            if line == "status 3" {
                let rows = self.clients.iter().map(|(cid, user)| client_row(*cid, user, ""));
                self.controller.say(&status(&rows.collect::<Vec<_>>())).await;
            } else if let Some(kill) = line.strip_prefix("client-kill ") {
                let cid = kill.split(' ').next().unwrap().parse().unwrap();
                self.controller.say("SUCCESS: client-kill command succeeded\n").await;
                self.killed.insert(cid);
                self.leave(cid).await;
            } else {
                return line;
            }
        }
    }

    /// Takes an answer in, whosoever it is; who is let in is in.
    async fn take_answer(&mut self, users: &[&str]) -> (u32, String) {
        let line = self.command().await;
        let cid: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
        if line.starts_with("client-auth ") {
            while self.controller.line().await != "END" {}
            self.clients.insert(cid, users[cid as usize % users.len()].to_owned());
            self.controller.establish(cid).await;
        } else if line.starts_with("client-deny ") {
            self.controller.say("SUCCESS: client-deny command succeeded\n").await;
        } else {
            assert!(line.starts_with("client-auth-nt "), "{line}");
            self.controller.say("SUCCESS: client-auth command succeeded\n").await;
        }
        (cid, line)
    }

    /// A login and its answer.
    async fn log_in(&mut self, cid: u32, user: &str, password: &str) -> String {
        self.controller.connect(cid, user, password, Some(MAC)).await;
        let (answered, line) = self.take_answer(&[user]).await;
        assert_eq!(answered, cid, "{line}");
        line
    }

    /// By this client or one after it, within the 5 s that it may take.
    async fn is_let_in_again(&mut self, from: u32, user: &str) -> u32 {
        let logins = async {
            let mut cid = from;
            while !self.is_let_in(cid, user).await {
                tokio::time::sleep(Duration::from_millis(300)).await;
                cid += 1;
            }
            cid
        };
        let back = tokio::time::timeout(Duration::from_secs(5), logins).await;
        back.expect("logins stay away")
    }

    async fn is_let_in(&mut self, cid: u32, user: &str) -> bool {
        let line = self.log_in(cid, user, PASSWORD).await;
        assert!(line.starts_with("client-auth ") || line.contains("TEMP"), "{line}");
        line.starts_with("client-auth ")
    }

    async fn renegotiates(&mut self, cid: u32) {
        let user = self.clients[&cid].clone();
        self.controller.ask("REAUTH", cid, 2, &user, PASSWORD, Some(MAC)).await;
        let (answered, line) = self.take_answer(&[&user]).await;
        assert_eq!((answered, &line[..14]), (cid, "client-auth-nt"), "{line}");
    }

    async fn leave(&mut self, cid: u32) {
        assert!(self.clients.remove(&cid).is_some(), "{cid} was not in");
        self.controller.disconnect(cid).await;
    }

    /// Until that client had to go.
    async fn sees_killed(&mut self, cid: u32) {
        let mut next = 10_000;
        while !self.killed.contains(&cid) {
            assert!(next < 10_100, "{cid} is never told to go");
            // Whatever is said between two commands is read with the next one.
            self.log_in(next, "nobody", "wrong").await;
            next += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// `words`: of the line's error; none for an event that has none.
async fn is_told(bed: &Bed, event: &str, words: &str) {
    for _ in 0..200 {
        let has = |line: &Value| line["error"].as_str().unwrap_or_default().contains(words);
        if bed.told(event).iter().any(has) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = std::fs::read_to_string(bed.folder().join("log")).unwrap();
    panic!("no {event} that says {words} in:\n{log}");
}

/// Each of these has one row, and nobody else has any; open ones are active, and the others closed with their bytes.
async fn rows_are(bed: &Bed, closed: &[u32], open: &[u32]) {
    let mut rows = Vec::new();
    for _ in 0..200 {
        rows = bed.sessions().await;
        let of = |state| {
            let rows = rows.iter().filter(move |row| row.state == state);
            let mut cids: Vec<u32> = rows.map(|row| row.cid.0).collect();
            cids.sort_unstable();
            cids
        };
        if of(SessionState::Closed) == closed
            && of(SessionState::Active) == open
            && rows.len() == closed.len() + open.len()
        {
            let ended = rows.iter().filter(|row| row.state == SessionState::Closed);
            let bytes = |row: &SessionRecord| (row.bytes_received, row.bytes_sent);
            assert!(ended.into_iter().all(|row| bytes(row) == (4_000, 5_000)), "{rows:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("closed {closed:?} and open {open:?} were to be: {rows:?}");
}

/// A server of its own, on which are alice, bob, who may be in once, and carol, who has four seconds.
async fn on_own(kind: &str) -> (Server, Bed, Listener) {
    let listener = Listener::tcp().await;
    let (server, url) = Server::start(kind, &[]).await;
    let bed = Bed::new(&listener).await.on(&url);
    bed.store.migrate(false).await.unwrap();
    let once = PolicyRecord { name: "once".into(), max_sessions: Some(1), ..Default::default() };
    let brief =
        PolicyRecord { name: "brief".into(), session_limit_s: Some(4), ..Default::default() };
    for (name, policy) in [("alice", None), ("bob", Some(once)), ("carol", Some(brief))] {
        bed.add_user(name, PASSWORD).await;
        let Some(policy) = policy else { continue };
        bed.store.put_policy(&policy, false, &bed.actor()).await.unwrap();
        let patch = UserPatch { policy: Some(policy.name), ..Default::default() };
        bed.store.patch_user(&name.parse().unwrap(), &patch, &bed.actor()).await.unwrap();
    }
    (server, bed, listener)
}

fn more(bed: &Bed) -> String {
    let journal = bed.folder().join("journal.db");
    format!(
        "[throttle]\naddress_failures = 0\nuser_failures = 0\neverywhere_failures = 0\n\
         [session]\naccounting_interval_s = 1\n[journal]\npath = \"{}\"\n",
        journal.display()
    )
}

/// `rights` that it is given before, the variable `on` that root sets, and what the server says then.
async fn takes_no_writes(kind: &str, rights: &str, on: &str, words: &str) {
    let (server, bed, listener) = on_own(kind).await;
    let mut root = server.root().await;
    sql(&mut root, rights).await;
    let (_daemon, controller, _) = beside_with(&bed, &listener, &more(&bed)).await;
    let mut vpn = Vpn::new(controller);
    vpn.clients.insert(0, "alice".into());
    assert!(vpn.is_let_in(1, "carol").await);
    rows_are(&bed, &[], &[0, 1]).await;
    sql(&mut root, &format!("SET GLOBAL {on} = 1")).await;
    // Nobody else can write either.
    let own: MySqlConnectOptions = bed.url().parse().unwrap();
    let mut own = MySqlConnection::connect_with(&own).await.unwrap();
    let refused = sqlx::raw_sql("DELETE FROM devices").execute(&mut own).await.unwrap_err();
    assert!(refused.to_string().contains(words), "{refused}");

    // Who is in goes on, comes and goes, and has to go when the time is over.
    vpn.renegotiates(0).await;
    assert!(vpn.is_let_in(2, "alice").await);
    assert!(vpn.is_let_in(3, "alice").await);
    vpn.leave(0).await;
    vpn.leave(2).await;
    let wrong = vpn.log_in(4, "alice", "wrong").await;
    assert!(wrong.contains("\"bad_credentials\"") && !wrong.contains("TEMP"), "{wrong}");
    // A place cannot be claimed.
    let denied = vpn.log_in(5, "bob", PASSWORD).await;
    assert!(denied.contains("\"backend_unavailable\"") && denied.contains("TEMP"), "{denied}");
    vpn.sees_killed(1).await;
    is_told(&bed, "journal.written", words).await;
    rows_are(&bed, &[], &[0, 1]).await;

    sql(&mut root, "SET GLOBAL read_only = 0").await;
    let cid = vpn.is_let_in_again(6, "bob").await;
    rows_are(&bed, &[0, 1, 2], &[3, cid]).await;
    assert!(bed.told("store.refused").is_empty());
    bed.store.close().await;
}

#[tokio::test]
async fn a_mariadb_that_takes_no_writes_lets_in_whoever_needs_none_and_gets_every_row_later() {
    takes_no_writes("mariadb", "SELECT 1", "read_only", "--read-only").await;
}

#[tokio::test]
async fn a_mysql_that_takes_no_writes_lets_in_whoever_needs_none_and_gets_every_row_later() {
    // Not even from somebody who might write to one that is only read-only.
    let rights = "GRANT CONNECTION_ADMIN ON *.* TO 'warden'@'%'";
    takes_no_writes("mysql", rights, "super_read_only", "--super-read-only").await;
}

/// The fewest that MariaDB can be told to have; one is for root.
const PLACES: usize = 10;

/// All places are somebody else's, and then ours are cut.
async fn crowd(root: &mut MySqlConnection, address: &str) -> Vec<MySqlConnection> {
    sql(root, "CREATE USER outsider@'%'").await;
    let outsider: MySqlConnectOptions = format!("mysql://outsider@{address}").parse().unwrap();
    let mut outsiders = Vec::new();
    for _ in 1..PLACES {
        outsiders.push(MySqlConnection::connect_with(&outsider).await.unwrap());
    }
    sql(root, &format!("SET GLOBAL max_connections = {PLACES}")).await;
    let refused = MySqlConnection::connect_with(&outsider).await.unwrap_err();
    assert!(refused.to_string().contains("Too many connections"), "{refused}");
    sql(root, "KILL CONNECTION USER 'warden'@'%'").await;
    outsiders
}

#[tokio::test]
async fn a_mariadb_without_a_free_connection_says_so_and_gets_every_row_later() {
    let (server, bed, listener) = on_own("mariadb").await;
    let (_daemon, controller, _) = beside_with(&bed, &listener, &more(&bed)).await;
    let mut vpn = Vpn::new(controller);
    vpn.clients.insert(0, "alice".into());
    assert!(vpn.is_let_in(1, "carol").await);
    assert!(vpn.is_let_in(2, "alice").await);
    rows_are(&bed, &[], &[0, 1, 2]).await;
    let mut root = server.root().await;
    let url = bed.url();
    bed.store.close().await;
    let outsiders = crowd(&mut root, &format!("127.0.0.1:{}", port(&url))).await;

    vpn.renegotiates(2).await;
    let denied = vpn.log_in(3, "alice", PASSWORD).await;
    assert!(denied.contains("\"backend_unavailable\"") && denied.contains("TEMP"), "{denied}");
    vpn.leave(0).await;
    vpn.sees_killed(1).await;
    for event in ["store.down", "journal.written"] {
        is_told(&bed, event, "Too many connections (1040)").await;
    }
    let is_hers = |line: &Value| line["cid"] == 3 && line["reason"] == "backend_unavailable";
    assert!(bed.told("auth.denied").iter().any(is_hers));
    assert!(bed.told("store.up").is_empty());

    drop(outsiders);
    let back = bed.clock.now().mono;
    let cid = vpn.is_let_in_again(20_000, "alice").await;
    is_told(&bed, "store.up", "").await;
    assert!(bed.clock.now().mono - back < Duration::from_secs(5), "that is told late");
    let bed = bed.on(&url);
    rows_are(&bed, &[0, 1], &[2, cid]).await;
    assert_eq!((bed.told("store.down").len(), bed.told("store.up").len()), (1, 1));
    assert!(bed.told("store.refused").is_empty());
    bed.store.close().await;
}

/// Each answer of the database comes so much later.
const LATE: Duration = Duration::from_millis(200);
/// Within `auth.timeout_ms`.
const IN_TIME: Duration = Duration::from_secs(8);
/// Logins at once on the first server; every fourth one has the right password.
const MANY: u32 = 160;

#[tokio::test]
async fn a_slow_mariadb_delays_logins_and_costs_no_answer_and_no_row() {
    let database = Database::new().await;
    let (listener, beside) = (Listener::tcp().await, Listener::tcp().await);
    let mut bed = database.bed(&listener, "udp").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", PASSWORD).await;
    // Only the daemon has to wait.
    let proxy = bed.behind_a_proxy().await;
    proxy.set(Mode::Slow(LATE));
    let more = format!(
        "{}[[servers]]\nname = \"other\"\nmanagement = \"tcp://{}\"\n",
        more(&bed),
        beside.address()
    );
    let attach = async {
        let mut controller = beside.accept().await;
        controller.attach(RUN, &[]).await;
        Vpn::new(controller)
    };
    let ((_daemon, controller, _), mut other) =
        tokio::join!(beside_with(&bed, &listener, &more), attach);
    let mut vpn = Vpn::new(controller);
    vpn.clients.insert(0, "alice".into());
    let now = || bed.clock.now().mono;

    let asked = now();
    assert!(other.is_let_in(1_000, "alice").await);
    assert!(now() - asked >= LATE, "the database is not slow: {:?}", now() - asked);

    // Many at once on one server, and one after the other on the other one.
    let storm = async {
        for cid in 1..=MANY {
            let password = if cid % 4 == 0 { PASSWORD } else { "wrong" };
            vpn.controller.connect(cid, "alice", password, Some(MAC)).await;
        }
        for _ in 0..MANY {
            let (cid, line) = vpn.take_answer(&["alice"]).await;
            let is_right = if cid % 4 == 0 {
                line.starts_with("client-auth ")
            } else {
                line.contains("\"bad_credentials\"")
            };
            assert!(is_right, "{line}");
        }
    };
    let beside_it = async {
        let mut longest = Duration::ZERO;
        for cid in 1_001..1_006 {
            let asked = now();
            assert!(other.is_let_in(cid, "alice").await);
            longest = longest.max(now() - asked);
        }
        longest
    };
    let asked = now();
    let timed = async {
        storm.await;
        now() - asked
    };
    let (took, longest) = tokio::join!(timed, beside_it);
    assert!(took < IN_TIME, "{took:?} for all");
    assert!(longest < Duration::from_secs(3), "the other server's clients wait {longest:?}");

    let asked = now();
    tokio::join!(vpn.renegotiates(0), other.renegotiates(1_000));
    assert!(now() - asked < IN_TIME);

    // What they use while they are in, and by their end.
    vpn.controller.say(">BYTECOUNT_CLI:0,1234,2345\n").await;
    let counts = |row: &SessionRecord| (row.bytes_received, row.bytes_sent) == (1_234, 2_345);
    let row = bed.any_session(|row| row.cid.0 == 0 && counts(row)).await;
    assert_eq!(row.state, SessionState::Active);
    let closed: Vec<u32> = (0..=MANY).filter(|cid| cid % 4 == 0).collect();
    for cid in &closed {
        vpn.leave(*cid).await;
    }
    rows_are(&bed, &closed, &(1_000..1_006).collect::<Vec<_>>()).await;
    for event in ["store.down", "auth.error", "store.refused", "link.lost"] {
        assert_eq!(bed.told(event), [] as [Value; 0]);
    }
    bed.store.close().await;
    database.sql(&format!("DROP DATABASE {}", database.name)).await;
}

/// What systemd waits for, by the unit.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_daemon_whose_database_hangs_ends_in_time_and_leaves_its_rows_in_the_journal() {
    let database = Database::new().await;
    let listener = Listener::tcp().await;
    let mut bed = database.bed(&listener, "udp").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", PASSWORD).await;
    let proxy = bed.behind_a_proxy().await;
    let more = more(&bed);
    let (mut daemon, controller, _) = beside_with(&bed, &listener, &more).await;
    let mut vpn = Vpn::new(controller);
    vpn.clients.insert(0, "alice".into());
    assert!(vpn.is_let_in(1, "alice").await);
    bed.any_session(|session| session.cid.0 == 1 && session.state == SessionState::Active).await;

    proxy.set(Mode::Stalled);
    vpn.leave(0).await;
    // It is in the middle of writing that, and of asking for requests.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    vpn.leave(1).await;
    let begun = bed.clock.now().mono;
    let id = daemon.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    let ended = tokio::time::timeout(STOP_TIMEOUT, daemon.wait()).await;
    let status = ended.expect("it would be killed, and its rows with it").unwrap();
    assert!(status.success(), "{status}");
    assert!(bed.clock.now().mono - begun < STOP_TIMEOUT * 4 / 5);

    // What it knew is found by the next one.
    proxy.set(Mode::Open);
    let _next = run(&bed);
    for cid in [0, 1] {
        let is_closed =
            |session: &SessionRecord| session.cid.0 == cid && session.state == SessionState::Closed;
        bed.any_session(is_closed).await;
    }
}
