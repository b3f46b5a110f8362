//! The whole daemon, in process, on a real SQLite file, against a scripted OpenVPN.

mod bed;
mod browser;
mod calm;
mod console;
mod console_proxy;
mod crash;
mod deaf;
mod descriptors;
mod disk;
mod floods;
mod grace;
mod hostile;
mod limits;
mod listen;
mod many;
mod metrics;
mod notice;
mod outage;
mod own_server;
mod process;
mod race;
mod relay;
mod second_factor;
mod secrets;
mod server;
mod steps;
mod token;
mod top;
mod unwell;
mod webhook;
mod wiped;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use ovpn_warden::{
    auth::password::{self, HashParams, Scheme, Schemes},
    config::{self, Config, Endpoint},
    daemon,
    store::{
        self, Actor, CommandAction, DeviceMode, DeviceStatus, NewDevice, NewUser, SessionFilter,
        SessionRecord, SessionState, Store,
    },
    telemetry::http::Readiness,
    types::{Cause, Clock, DeviceId, ExpiryAction, Password, SessionId, Timestamp, Zone},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use bed::{Bed, Daemon, open};
use server::{Controller, Listener, RUN, client_row};

const MAC: &str = "02:1a:2b:3c:4d:5e";
const CHEAP: HashParams = HashParams { m_kib: 8, t: 1, p: 1 };

/// A daemon that is attached to a server without clients.
async fn attached() -> (Listener, Bed, Daemon, Controller) {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    (listener, bed, daemon, controller)
}

async fn expect_denial(controller: &mut Controller, reason: &str, text: &str) {
    let line = controller.line().await;
    assert!(line.starts_with("client-deny "), "{line}");
    assert!(line.contains(&format!("\"{reason}\"")) && line.contains(text), "{line}");
    controller.say("SUCCESS: client-deny command succeeded\n").await;
}

#[tokio::test]
async fn a_login_is_allowed_recorded_and_closed_with_its_bytes() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some("02-1A-2B-3C-4D-5E")).await;
    controller.expect("client-auth 0 1").await;
    let timeout = controller.line().await;
    let seconds: u32 = timeout.strip_prefix("session-timeout ").unwrap().parse().unwrap();
    assert!((3_655..=3_660).contains(&seconds), "{seconds}");
    controller.expect("END").await;
    controller.establish(0).await;
    let session = bed.session(|s| s.state == SessionState::Active).await;
    assert_eq!(session.vpn_ip.as_deref(), Some("10.8.0.6"));
    controller.disconnect(0).await;
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    assert_eq!((session.bytes_received, session.bytes_sent), (4_000, 5_000));
    assert!(session.ended_at.is_some());
    daemon.stop().await;
}

#[tokio::test]
async fn every_wrong_login_is_denied_with_its_reason() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "wrong", Some(MAC)).await;
    expect_denial(&mut controller, "bad_credentials", "Wrong username or password").await;
    controller.connect(1, "nobody", "wrong", Some(MAC)).await;
    expect_denial(&mut controller, "unknown_user", "Wrong username or password").await;
    controller.connect(2, "alice", "correct horse", Some("02:00:00:00:00:99")).await;
    expect_denial(&mut controller, "device_unknown", "This device is not registered").await;
    controller.connect(3, "alice", "correct horse", None).await;
    expect_denial(&mut controller, "device_missing", "push-peer-info").await;
    controller.connect(4, "alice", "correct horse", Some("02:00:00:00:00")).await;
    expect_denial(&mut controller, "device_invalid", "cannot be used").await;
    controller.connect(5, "", "", Some(MAC)).await;
    expect_denial(&mut controller, "missing_credentials", "Username and password").await;
    assert!(bed.sessions().await.is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn only_the_schemes_of_the_configuration_are_taken() {
    const SSHA: &str = "{SSHA}Ixeqctr6CgfwWvR7qi44j5Xc9vMxMjM0NTY3OA==";
    for (schemes, taken) in [
        (vec![Scheme::Argon2id, Scheme::Ssha], true),
        (vec![Scheme::Argon2id, Scheme::Bcrypt], false),
    ] {
        let listener = Listener::tcp().await;
        let mut bed = Bed::new(&listener).await;
        bed.config.auth.password_schemes = schemes.into_iter().collect();
        let alice = "alice".parse().unwrap();
        let patch = store::UserPatch { password_hash: Some(SSHA.into()), ..Default::default() };
        bed.store.patch_user(&alice, &patch, &bed.actor()).await.unwrap();
        let daemon = bed.start();
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[]).await;
        controller.connect(0, "alice", "password", Some(MAC)).await;
        if taken {
            controller.expect("client-auth 0 1").await;
        } else {
            expect_denial(&mut controller, "backend_unavailable", "TEMP").await;
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn guessing_is_throttled_and_even_the_right_password_then_waits() {
    let (_listener, _bed, daemon, mut controller) = attached().await;
    for cid in 0..3 {
        controller.connect(cid, "alice", "wrong", Some(MAC)).await;
        expect_denial(&mut controller, "bad_credentials", "").await;
    }
    controller.connect(3, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut controller, "throttled", "Too many failed attempts").await;
    daemon.stop().await;
}

#[tokio::test]
async fn guesses_count_on_all_daemons_and_over_a_restart_until_an_operator_forgives() {
    let (listener, bed, daemon, mut controller) = attached().await;
    for cid in 0..3 {
        controller.connect(cid, "alice", "wrong", Some(MAC)).await;
        expect_denial(&mut controller, "bad_credentials", "").await;
    }
    for _ in 0..100 {
        if !bed.store.lockouts(bed.clock.now().utc).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lockouts = bed.store.lockouts(bed.clock.now().utc).await.unwrap();
    let [lockout] = &lockouts[..] else { panic!("{lockouts:?}") };
    assert_eq!((lockout.failures, lockout.user.as_ref().unwrap().as_str()), (3, "alice"));
    daemon.stop().await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(3, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut controller, "throttled", "").await;
    let alice = "alice".parse().unwrap();
    bed.store.clear_lockouts(Some(&alice), None, &bed.actor()).await.unwrap();
    let begun = bed.clock.now().mono;
    for cid in 4.. {
        controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
        let line = controller.command().await;
        if line.starts_with("client-auth ") {
            break;
        }
        controller.say("SUCCESS: client-deny command succeeded\n").await;
        assert!(bed.clock.now().mono - begun < Duration::from_secs(3), "{line}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_limit_ends_a_session_with_halt_on_time() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.session.limit = Some(Duration::from_secs(1));
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    for _ in 0..3 {
        controller.line().await;
    }
    controller.establish(0).await;
    let started = bed.clock.now().mono;
    controller.expect("client-kill 0 \"HALT,Your session time is over\"").await;
    let waited = bed.clock.now().mono - started;
    assert!((900..1_300).contains(&waited.as_millis()), "{waited:?}");
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    controller.disconnect(0).await;
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    assert_eq!(session.cause, Some(Cause::SessionLimit));
    assert_eq!(session.duration_s(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn stopping_kills_nobody_and_the_next_daemon_adopts_them() {
    let (listener, bed, daemon, mut controller) = attached().await;
    controller.connect(7, "alice", "correct horse", Some(MAC)).await;
    for _ in 0..3 {
        controller.line().await;
    }
    controller.establish(7).await;
    let before = bed.session(|s| s.state == SessionState::Active).await;
    daemon.stop().await;
    assert_eq!(controller.line_within(Duration::from_secs(1)).await, None, "it only leaves");
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[client_row(7, "alice", "10.8.0.6")]).await;
    let after = bed.session(|s| s.version > before.version).await;
    assert_eq!(
        (after.id, after.deadline, after.state),
        (before.id, before.deadline, SessionState::Active)
    );
    assert_eq!(controller.line_within(Duration::from_millis(300)).await, None);
    daemon.stop().await;
}

#[tokio::test]
async fn sessions_that_ended_long_ago_are_removed_and_the_others_stay() {
    let (listener, mut bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
    for _ in 0..2 {
        controller.line().await;
    }
    controller.establish(0).await;
    controller.disconnect(0).await;
    let kept = bed.session(|s| s.state == SessionState::Closed).await;
    daemon.stop().await;
    let week = Duration::from_secs(7 * 86_400);
    let long_ago = kept.started_at.saturating_sub(week);
    let old = SessionRecord {
        id: SessionId::new(long_ago, [1; 10]),
        started_at: long_ago,
        updated_at: long_ago,
        ended_at: Some(long_ago),
        ..kept.clone()
    };
    bed.store.persist(&[old]).await.unwrap();
    assert_eq!(bed.sessions().await.len(), 2);
    bed.config.retention.sessions = Some(Duration::from_secs(86_400));
    let daemon = bed.start();
    let _controller = listener.accept().await;
    assert_eq!(bed.session(|_| true).await.id, kept.id);
    daemon.stop().await;
}

#[tokio::test]
async fn without_its_database_it_denies_for_a_while_and_holds_a_held_server() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    // Nobody listens there.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dead.local_addr().unwrap().port();
    drop(dead);
    let url = format!("mysql://warden:secret@127.0.0.1:{port}/vpn");
    let store = store::open(&store::Options::new(Password::from(url.as_bytes()))).unwrap();
    let daemon = bed.start_on(store);
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.say(">HOLD:Waiting for hold release:0\n").await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut controller, "backend_unavailable", "TEMP[backoff 10]:").await;
    assert_eq!(controller.line_within(Duration::from_secs(1)).await, None, "not released");
    daemon.stop().await;
}

#[tokio::test]
async fn a_held_server_is_released_when_the_database_answers() {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller
        .say(">INFO:OpenVPN Management Interface Version 5 -- type 'help'\n>HOLD:Waiting for hold release:0\n")
        .await;
    controller.set_up(RUN, &[]).await;
    controller.expect("hold release").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_unix_socket_with_a_password_is_attached() {
    let folder = TempDir::new().unwrap();
    let path: PathBuf = folder.path().join("mgmt.sock");
    let listener = Listener::unix(&path);
    let bed = Bed::at(Endpoint::Unix(path), Some("s3cret \"x\"")).await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.say("ENTER PASSWORD:").await;
    controller.expect("s3cret \"x\"").await;
    controller.say("SUCCESS: password is correct\n").await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_wrong_management_password_is_tried_once_and_not_again_at_once() {
    let listener = Listener::tcp().await;
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: listener.address().port() };
    let bed = Bed::at(endpoint, Some("wrong")).await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.say("ENTER PASSWORD:").await;
    controller.expect("wrong").await;
    controller.say("ENTER PASSWORD:").await;
    assert!(controller.is_closed().await);
    assert!(!listener.is_visited_within(Duration::from_secs(3)).await);
    daemon.stop().await;
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_again() {
    let (listener, _bed, daemon, controller) = attached().await;
    drop(controller);
    for _ in 0..5 {
        let mut controller = listener.accept().await;
        controller.say(">FATAL:no luck\n").await;
    }
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_late_approval_after_a_restart_admits_nobody() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    // A hash that takes long enough to be overtaken.
    let slow = HashParams { m_kib: 65_536, t: 6, p: 1 };
    bed.config.auth.argon2_m_kib = slow.m_kib;
    let hash = password::hash(&Password::from(&b"correct horse"[..]), &slow).unwrap();
    let patch = store::UserPatch { password_hash: Some(hash), ..Default::default() };
    bed.store.patch_user(&"alice".parse().unwrap(), &patch, &bed.actor()).await.unwrap();
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller
        .say(&format!(
            ">CLIENT:DISCONNECT,0\n>CLIENT:ENV,END\n>STATE:{0},RECONNECTING,SIGUSR1,,,,,\n>STATE:{0},CONNECTED,SUCCESS,10.8.0.1,,,,\n",
            RUN + 60
        ))
        .await;
    controller.connect(0, "bob", "whatever", Some(MAC)).await;
    expect_denial(&mut controller, "unknown_user", "").await;
    assert_eq!(controller.line_within(Duration::from_secs(1)).await, None, "alice's is void");
    daemon.stop().await;
}

#[tokio::test]
async fn an_operators_kill_reaches_the_client_within_two_seconds() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    for _ in 0..3 {
        controller.line().await;
    }
    controller.establish(0).await;
    let session = bed.session(|s| s.state == SessionState::Active).await;
    let kill = CommandAction::Kill { reason: Some("maintenance".into()) };
    let id = bed.store.request(session.id, &kill, &bed.actor()).await.unwrap();
    let asked = bed.clock.now().mono;
    controller.expect("client-kill 0 \"HALT,maintenance\"").await;
    assert!(bed.clock.now().mono - asked < Duration::from_secs(2));
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    controller.disconnect(0).await;
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    assert_eq!(session.cause, Some(Cause::Admin));
    for _ in 0..40 {
        if bed.store.command_handled(id).await.unwrap().is_some() {
            return daemon.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the request is not marked as handled");
}

#[tokio::test]
async fn garbage_and_a_hostile_block_do_not_disturb_the_next_login() {
    let (_listener, _bed, daemon, mut controller) = attached().await;
    controller.say("\n>\n>H\nS\n>CLIENT:CONNECT,k,2\n>CLIENT:ENV,a=b\n>CLIENT:ENV,END\n").await;
    controller
        .say(">CLIENT:CONNECT,30,1\n>CLIENT:ENV,username=admin\n>CLIENT:ENV,username=alice\n>CLIENT:ENV,password=pw\n>CLIENT:ENV,END\n")
        .await;
    expect_denial(&mut controller, "protocol", "").await;
    controller.connect(31, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 31 1").await;
    daemon.stop().await;
}
