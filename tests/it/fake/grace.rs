//! `auth.offline_grace_s`: who was let in a while ago comes in again while the database is away.

use super::*;

const OTHER: &str = "02:1a:2b:3c:4d:5f";

struct Offline {
    _listener: Listener,
    bed: Bed,
    daemon: Daemon,
    controller: Controller,
}

/// Alice has logged in and left. Then something is changed, and the database goes away.
async fn offline(grace: Option<Duration>, change: impl AsyncFnOnce(&Bed)) -> Offline {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.auth.offline_grace = grace;
    bed.config.session.accounting_interval = Duration::from_secs(30);
    bed.config.journal.path = Some(bed.folder().join("journal.db"));
    bed.add_user("bob", "correct horse").await;
    let store = open(&bed.config);
    let daemon = bed.start_on(Arc::clone(&store));
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    log_in(&mut controller, 0).await;
    controller.disconnect(0).await;
    bed.session(|s| s.state == SessionState::Closed).await;
    change(&bed).await;
    // The poller looks once a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    store.close().await;
    Offline { _listener: listener, bed, daemon, controller }
}

async fn log_in(controller: &mut Controller, cid: u32) {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    controller.expect(&format!("client-auth {cid} 1")).await;
    while controller.line().await != "END" {}
    controller.establish(cid).await;
}

impl Offline {
    async fn is_denied(&mut self, cid: u32, user: &str, password: &str, mac: Option<&str>) {
        self.controller.connect(cid, user, password, mac).await;
        expect_denial(&mut self.controller, "backend_unavailable", "TEMP").await;
    }
}

const HOUR: Option<Duration> = Some(Duration::from_secs(3_600));

#[tokio::test]
async fn a_known_user_with_device_and_password_comes_in_and_nobody_else() {
    let mut offline = offline(HOUR, async |_| {}).await;
    offline.is_denied(1, "alice", "wrong", Some(MAC)).await;
    offline.is_denied(2, "alice", "correct horse", Some(OTHER)).await;
    offline.is_denied(3, "alice", "correct horse", None).await;
    offline.is_denied(4, "bob", "correct horse", Some(MAC)).await;
    offline.is_denied(5, "nobody", "correct horse", Some(MAC)).await;
    offline.controller.connect(6, "alice", "correct horse", Some(MAC)).await;
    offline.controller.expect("client-auth 6 1").await;
    let timeout = offline.controller.line().await;
    let seconds: u32 = timeout.strip_prefix("session-timeout ").unwrap().parse().unwrap();
    assert!((3_655..=3_660).contains(&seconds), "as the policy says: {seconds}");
    offline.controller.expect("END").await;
    offline.controller.establish(6).await;
    // Its session is not lost.
    let Offline { _listener: listener, bed, daemon, mut controller } = offline;
    controller.disconnect(6).await;
    controller.connect(7, "alice", "wrong", Some(MAC)).await;
    expect_denial(&mut controller, "backend_unavailable", "").await;
    daemon.stop().await;
    assert_eq!(bed.sessions().await.len(), 1);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    for _ in 0..100 {
        if bed.sessions().await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sessions = bed.sessions().await;
    let late = sessions.iter().find(|session| session.cid.0 == 6).unwrap();
    assert_eq!((late.state, late.bytes_sent), (SessionState::Closed, 5_000));
    daemon.stop().await;
}

#[tokio::test]
async fn without_the_key_nobody_comes_in() {
    let mut offline = offline(None, async |_| {}).await;
    offline.is_denied(1, "alice", "correct horse", Some(MAC)).await;
    offline.daemon.stop().await;
}

#[tokio::test]
async fn guessing_is_throttled_offline_too() {
    let mut offline = offline(HOUR, async |_| {}).await;
    for cid in 1..4 {
        offline.is_denied(cid, "alice", "wrong", Some(MAC)).await;
    }
    offline.controller.connect(4, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut offline.controller, "throttled", "").await;
    offline.daemon.stop().await;
}

#[tokio::test]
async fn what_was_changed_before_the_outage_counts_in_it() {
    let alice = || "alice".parse().unwrap();
    let disabled = async |bed: &Bed| {
        let patch = store::UserPatch { enabled: Some(false), ..Default::default() };
        bed.store.patch_user(&alice(), &patch, &bed.actor()).await.unwrap();
    };
    let new_password = async |bed: &Bed| {
        let hash = password::hash(&Password::from(&b"another"[..]), &CHEAP).unwrap();
        let patch = store::UserPatch { password_hash: Some(hash), ..Default::default() };
        bed.store.patch_user(&alice(), &patch, &bed.actor()).await.unwrap();
    };
    let blocked = async |bed: &Bed| {
        let (mac, status) = (DeviceId::parse(MAC).unwrap(), DeviceStatus::Blocked);
        bed.store.set_device_status(&alice(), &mac, status, &bed.actor()).await.unwrap();
    };
    let limited = async |bed: &Bed| {
        let policy = store::PolicyRecord {
            name: "default".into(),
            max_sessions: Some(1),
            ..Default::default()
        };
        bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    };
    let enrolled = async |bed: &Bed| {
        let factor = store::NewSecondFactor {
            secret: ovpn_warden::auth::second_factor::totp::new_secret([7; 20]),
            recovery_codes: Vec::new(),
            replace: false,
        };
        bed.store.put_second_factor(&alice(), &factor, &bed.actor()).await.unwrap();
    };
    let removed = async |bed: &Bed| {
        bed.store.remove_user(&alice(), &bed.actor()).await.unwrap();
    };
    let beds = [
        offline(HOUR, disabled).await,
        offline(HOUR, new_password).await,
        offline(HOUR, blocked).await,
        offline(HOUR, limited).await,
        offline(HOUR, enrolled).await,
        offline(HOUR, removed).await,
    ];
    for mut offline in beds {
        offline.is_denied(1, "alice", "correct horse", Some(MAC)).await;
        offline.is_denied(2, "alice", "another", Some(MAC)).await;
        offline.daemon.stop().await;
    }
}

#[tokio::test]
async fn a_cool_down_holds_while_the_database_is_away() {
    let short = async |bed: &Bed| {
        let policy = store::PolicyRecord {
            name: "default".into(),
            session_limit_s: Some(1),
            cooldown_s: Some(60),
            ..Default::default()
        };
        bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    };
    let mut offline = offline(HOUR, short).await;
    log_in(&mut offline.controller, 1).await;
    let kill = offline.controller.line().await;
    assert!(kill.starts_with("client-kill 1 "), "{kill}");
    offline.controller.say("SUCCESS: client-kill command succeeded\n").await;
    offline.controller.disconnect(1).await;
    offline.is_denied(2, "alice", "correct horse", Some(MAC)).await;
    offline.daemon.stop().await;
}
