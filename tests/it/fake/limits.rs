//! Limits of policies through the whole daemon: cool-down, sessions at once, devices that users bring.

use ovpn_warden::{
    store::{Granted, OnLimit, PolicyRecord, QuotaGrant, UserPatch},
    types::{Cause, DenyReason, Hours, Quotas},
};

use chrono::Datelike;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;

const OTHER: &str = "02:1a:2b:3c:4d:5f";

/// A daemon and the policy `default` with these limits.
async fn with(limits: PolicyRecord) -> (Listener, Bed, Daemon, Controller) {
    let listener = Listener::tcp().await;
    let bed = Bed::new(&listener).await;
    let policy = PolicyRecord { name: "default".into(), ..limits };
    bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    (listener, bed, daemon, controller)
}

async fn log_in(controller: &mut Controller, cid: u32, mac: &str) -> String {
    controller.connect(cid, "alice", "correct horse", Some(mac)).await;
    let line = controller.command().await;
    if line.starts_with("client-auth ") {
        while controller.line().await != "END" {}
        controller.establish(cid).await;
    } else {
        controller.say("SUCCESS: client-deny command succeeded\n").await;
    }
    line
}

fn denied(line: &str, reason: DenyReason) {
    let reason = format!("\"{reason}\"");
    assert!(line.starts_with("client-deny ") && line.contains(&reason), "{line}");
}

#[tokio::test]
async fn who_comes_back_by_itself_after_its_time_stays_out() {
    let limits =
        PolicyRecord { session_limit_s: Some(1), cooldown_s: Some(60), ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    let kill = controller.line().await;
    assert!(kill.starts_with("client-kill 0 "), "{kill}");
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    // While it is still being ended, and afterwards.
    bed.session(|session| session.state == SessionState::Closing).await;
    denied(&log_in(&mut controller, 1, MAC).await, DenyReason::Cooldown);
    controller.disconnect(0).await;
    bed.session(|session| session.state == SessionState::Closed).await;
    denied(&log_in(&mut controller, 2, MAC).await, DenyReason::Cooldown);
    daemon.stop().await;
}

#[tokio::test]
async fn one_session_too_many_is_refused_or_replaces_that_of_the_same_device() {
    let limits = PolicyRecord {
        max_sessions: Some(1),
        on_limit: Some(OnLimit::ReplaceSameDevice),
        device_mode: Some(DeviceMode::Off),
        ..Default::default()
    };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    bed.session(|session| session.state == SessionState::Active).await;
    denied(&log_in(&mut controller, 1, OTHER).await, DenyReason::TooManySessions);
    assert!(log_in(&mut controller, 2, MAC).await.starts_with("client-auth 2 1"));
    let kill = controller.line().await;
    assert_eq!(kill, "client-kill 0 \"HALT,A newer session of yours has replaced this one\"");
    daemon.stop().await;
}

fn one_at_once() -> PolicyRecord {
    PolicyRecord {
        max_sessions: Some(1),
        on_limit: Some(OnLimit::Deny),
        device_mode: Some(DeviceMode::Off),
        ..Default::default()
    }
}

pub(super) async fn sql(bed: &Bed, text: &'static str) {
    let options = SqliteConnectOptions::new().filename(bed.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(text).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_session_whose_row_is_on_its_way_to_the_database_has_its_place() {
    let (_listener, bed, daemon, mut controller) = with(one_at_once()).await;
    sql(
        &bed,
        "CREATE TRIGGER fault BEFORE INSERT ON sessions BEGIN INSERT INTO nowhere VALUES (1); END",
    )
    .await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    for cid in 1..3 {
        denied(&log_in(&mut controller, cid, MAC).await, DenyReason::TooManySessions);
    }
    assert!(bed.sessions().await.is_empty());
    sql(&bed, "DROP TRIGGER fault").await;
    bed.session(|session| session.state == SessionState::Active).await;
    denied(&log_in(&mut controller, 3, MAC).await, DenyReason::TooManySessions);
    controller.disconnect(0).await;
    bed.session(|session| session.state == SessionState::Closed).await;
    assert!(log_in(&mut controller, 4, MAC).await.starts_with("client-auth 4 1"));
    daemon.stop().await;
}

#[tokio::test]
async fn who_begins_again_before_he_is_up_is_not_in_his_own_way() {
    for on_limit in [OnLimit::Deny, OnLimit::ReplaceOldest] {
        let limits = PolicyRecord { on_limit: Some(on_limit), ..one_at_once() };
        let (_listener, bed, daemon, mut controller) = with(limits).await;
        for kid in 1..=3 {
            controller.ask("CONNECT", 0, kid, "alice", "correct horse", Some(MAC)).await;
            let line = controller.command().await;
            assert!(line.starts_with(&format!("client-auth 0 {kid}")), "{on_limit}: {line}");
            while controller.line().await != "END" {}
            if kid < 3 {
                controller.say("SUCCESS: client-auth command succeeded\n").await;
                bed.session(|session| session.state == SessionState::Pending).await;
            }
        }
        controller.establish(0).await;
        bed.session(|session| session.state == SessionState::Active).await;
        if on_limit == OnLimit::Deny {
            denied(&log_in(&mut controller, 1, MAC).await, DenyReason::TooManySessions);
        }
        let asked = bed.store.pending_commands(&["udp".parse().unwrap()]).await.unwrap();
        assert!(asked.commands.is_empty(), "{on_limit}: nobody is asked to leave");
        controller.disconnect(0).await;
        bed.session(|session| session.state == SessionState::Closed).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_was_adopted_has_its_place() {
    // OpenVPN says that the client has been up for longer than any limit.
    let limits = PolicyRecord { session_limit_s: Some(0), ..one_at_once() };
    let (listener, bed, mut daemon, mut controller) = with(limits).await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    let first = bed.session(|session| session.state == SessionState::Active).await;
    for has_row in [true, false] {
        daemon.stop().await;
        sql(&bed, "DELETE FROM session_claims").await;
        if !has_row {
            sql(&bed, "DELETE FROM sessions").await;
        }
        daemon = bed.start();
        controller = listener.accept().await;
        controller.attach(RUN, &[client_row(0, "alice", "10.8.0.6")]).await;
        let adopted = bed.session(|session| session.state == SessionState::Active).await;
        assert_eq!(adopted.id == first.id, has_row);
        denied(&log_in(&mut controller, 1, MAC).await, DenyReason::TooManySessions);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_first_device_is_learnt_and_a_second_one_only_by_an_enrolment() {
    let limits = PolicyRecord { device_mode: Some(DeviceMode::Learn), ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    let (alice, mac) = ("alice".parse().unwrap(), DeviceId::parse(MAC).unwrap());
    bed.store.remove_device(&alice, &mac, &bed.actor()).await.unwrap();
    assert!(log_in(&mut controller, 0, OTHER).await.starts_with("client-auth 0 1"));
    denied(&log_in(&mut controller, 1, MAC).await, DenyReason::DeviceUnknown);
    let soon = bed.clock.now().utc.saturating_add(Duration::from_secs(60));
    bed.store.open_enrolment(&alice, Some(soon), &bed.actor()).await.unwrap();
    // A wrong password registers nothing.
    controller.connect(2, "alice", "wrong", Some(MAC)).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    assert!(log_in(&mut controller, 3, MAC).await.starts_with("client-auth 3 1"));
    denied(&log_in(&mut controller, 4, "02:1a:2b:3c:4d:60").await, DenyReason::DeviceUnknown);
    assert_eq!(bed.store.devices(Some(&alice), 10).await.unwrap().len(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn an_unknown_device_waits_for_its_approval() {
    let limits = PolicyRecord { device_mode: Some(DeviceMode::Approve), ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    for cid in 0..2 {
        denied(&log_in(&mut controller, cid, OTHER).await, DenyReason::DevicePending);
    }
    let (alice, other) = ("alice".parse().unwrap(), DeviceId::parse(OTHER).unwrap());
    let approved = DeviceStatus::Approved;
    bed.store.set_device_status(&alice, &other, approved, &bed.actor()).await.unwrap();
    assert!(log_in(&mut controller, 2, OTHER).await.starts_with("client-auth 2 1"));
    daemon.stop().await;
}

/// Hours that are over in this many seconds, if `is_open`; the day after tomorrow otherwise.
fn hours(bed: &Bed, is_open: bool) -> Hours {
    let today = bed.clock.now().utc.to_datetime().weekday();
    let day = if is_open { today } else { today.succ().succ() };
    format!("{} 00:00-24:00", day.to_string().to_lowercase()).parse().unwrap()
}

#[tokio::test]
async fn outside_its_hours_nobody_comes_in_and_who_is_in_has_to_go() {
    let (_listener, bed, daemon, mut controller) = with(PolicyRecord::default()).await;
    let set = async |hours: Hours| {
        let policy = PolicyRecord { name: "default".into(), hours, ..Default::default() };
        bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    };
    set(hours(&bed, false)).await;
    denied(&log_in(&mut controller, 0, MAC).await, DenyReason::OutsideHours);
    set(hours(&bed, true)).await;
    assert!(log_in(&mut controller, 1, MAC).await.starts_with("client-auth 1 1"));
    bed.session(|session| session.state == SessionState::Active).await;
    set(hours(&bed, false)).await;
    let kill = controller.command().await;
    assert_eq!(kill, "client-kill 1 \"HALT,The allowed hours are over\"");
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    controller.disconnect(1).await;
    let closed = bed.session(|session| session.state == SessionState::Closed).await;
    assert_eq!(closed.cause, Some(Cause::Hours));
    daemon.stop().await;
}

#[tokio::test]
async fn a_quota_of_data_ends_the_session_that_uses_it_up_and_refuses_the_next() {
    let data_quota = Quotas::parse_data("10000/month").unwrap();
    let limits = PolicyRecord { data_quota, ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    controller.say(">BYTECOUNT_CLI:0,4000,5999\n").await;
    bed.session(|session| session.bytes_sent == 5_999).await;
    controller.say(">BYTECOUNT_CLI:0,4000,6000\n").await;
    let kill = controller.command().await;
    let words = "Your data volume is used up for this period";
    assert_eq!(kill, format!("client-kill 0 \"HALT,{words}\""));
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    denied(&log_in(&mut controller, 1, MAC).await, DenyReason::DataQuotaUsed);
    controller.disconnect(0).await;
    let closed = bed.session(|session| session.state == SessionState::Closed).await;
    assert_eq!(closed.cause, Some(Cause::DataQuota));
    denied(&log_in(&mut controller, 2, MAC).await, DenyReason::DataQuotaUsed);
    let valid_until = bed.clock.now().utc.saturating_add(Duration::from_secs(3_600));
    let user = "alice".parse().unwrap();
    let grant = QuotaGrant { user, amount: Granted::Data(1 << 20), valid_until };
    bed.store.grant_quota(&grant, &bed.actor()).await.unwrap();
    assert!(log_in(&mut controller, 3, MAC).await.starts_with("client-auth 3 1"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_quota_of_time_is_shared_by_sessions_and_moved_by_a_grant() {
    let time_quota = Quotas::parse_time("100s/total").unwrap();
    let limits = PolicyRecord { time_quota, ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    let begun = bed.clock.now().utc;
    let left = |session: &SessionRecord| {
        assert_eq!(session.deadline_reason, Some(Cause::TimeQuota));
        session.deadline.unwrap().saturating_since(begun).as_secs()
    };
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    let alone = bed.session(|session| session.state == SessionState::Active).await;
    assert!((99..=102).contains(&left(&alone)), "{alone:?}");
    assert!(log_in(&mut controller, 1, MAC).await.starts_with("client-auth 1 1"));
    let both = async |wanted: std::ops::RangeInclusive<u64>| {
        for _ in 0..100 {
            let sessions = bed.sessions().await;
            if sessions.len() == 2 && sessions.iter().all(|s| wanted.contains(&left(s))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{wanted:?}: {:?}", bed.sessions().await);
    };
    both(48..=54).await;
    let valid_until = begun.saturating_add(Duration::from_secs(3_600));
    let user = "alice".parse().unwrap();
    let grant = QuotaGrant { user, amount: Granted::Time(100), valid_until };
    bed.store.grant_quota(&grant, &bed.actor()).await.unwrap();
    both(98..=106).await;
    daemon.stop().await;
}

#[tokio::test]
async fn one_users_row_that_cannot_be_read_stops_nobody_elses_review() {
    let time_quota = Quotas::parse_time("100h/total").unwrap();
    let limits = PolicyRecord { time_quota, ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    bed.add_user("bob", "staple").await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    controller.connect(1, "bob", "staple", Some(MAC)).await;
    assert!(controller.command().await.starts_with("client-auth 1 1"));
    while controller.line().await != "END" {}
    controller.establish(1).await;
    let options = SqliteConnectOptions::new().filename(bed.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let grant = "INSERT INTO quota_grants (user_name, kind, amount, valid_until, created_at, actor) \
                 VALUES ('alice', 'time', -1, '2999-01-01 00:00:00.000', '2026-01-01 00:00:00.000', 'x')";
    sqlx::raw_sql(grant).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    // Of alice nobody can say what she has used: she is refused, and stays where she is in.
    controller.connect(2, "alice", "correct horse", Some(MAC)).await;
    expect_denial(&mut controller, "backend_unavailable", "").await;
    let off = UserPatch { enabled: Some(false), ..Default::default() };
    bed.store.patch_user(&"bob".parse().unwrap(), &off, &bed.actor()).await.unwrap();
    let kill = controller.command().await;
    assert!(kill.starts_with("client-kill 1 "), "{kill}");
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    // The database is not away for it: who did nothing to it comes in.
    bed.add_user("carol", "staple").await;
    controller.connect(3, "carol", "staple", Some(MAC)).await;
    assert!(controller.command().await.starts_with("client-auth 3 1"));
    while controller.line().await != "END" {}
    controller.establish(3).await;
    // And what can be said of alice counts.
    bed.store.patch_user(&"alice".parse().unwrap(), &off, &bed.actor()).await.unwrap();
    let kill = controller.command().await;
    assert!(kill.starts_with("client-kill 0 "), "{kill}");
    daemon.stop().await;
}

#[tokio::test]
async fn who_does_nothing_has_to_go() {
    let limits = PolicyRecord { idle_s: Some(1), ..Default::default() };
    let (_listener, bed, daemon, mut controller) = with(limits).await;
    assert!(log_in(&mut controller, 0, MAC).await.starts_with("client-auth 0 1"));
    let kill = controller.command().await;
    assert_eq!(kill, "client-kill 0 \"HALT,Your session was idle for too long\"");
    controller.say("SUCCESS: client-kill command succeeded\n").await;
    controller.disconnect(0).await;
    let closed = bed.session(|session| session.state == SessionState::Closed).await;
    assert_eq!(closed.cause, Some(Cause::Idle));
    daemon.stop().await;
}

#[tokio::test]
async fn guesses_from_many_addresses_hold_a_user_back_but_not_where_he_was() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
    while controller.line().await != "END" {}
    controller.establish(0).await;
    bed.session(|session| session.state == SessionState::Active).await;
    for cid in 1..10 {
        let line = controller.denial_elsewhere(cid, "wrong").await;
        assert!(line.contains("bad_credentials"), "{line}");
    }
    let line = controller.denial_elsewhere(10, "correct horse").await;
    assert!(line.contains("throttled"), "{line}");
    controller.connect(11, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 11 1").await;
    daemon.stop().await;
}
