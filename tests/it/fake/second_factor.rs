//! A second factor: by static and dynamic challenge, and by a question while a client connects.

use base64::{Engine, engine::general_purpose::STANDARD};
use ovpn_warden::{
    auth::second_factor::totp,
    store::{NewSecondFactor, PolicyRecord, SecondFactorMode, UserPatch},
    types::Username,
};
use sqlx::Connection as _;
use totp_rs::{Builder, Secret};

use super::*;

const SECRET: [u8; 20] = *b"12345678901234567890";
const PASSWORD: &str = "correct horse";

fn alice() -> Username {
    "alice".parse().unwrap()
}

/// As [`super::attached`], to a daemon that asks for nothing by itself meanwhile.
async fn attached() -> (Listener, Bed, Daemon, Controller) {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.session.accounting_interval = Duration::from_secs(60);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    (listener, bed, daemon, controller)
}

impl Bed {
    /// Alice has a second factor from now on; one of her recovery codes.
    async fn enrol(&self) -> String {
        let user = self.store.user(&alice()).await.unwrap().unwrap();
        let (code, digest) = totp::recovery_code(user.id, [7; 10]);
        let factor = NewSecondFactor {
            secret: totp::new_secret(SECRET),
            recovery_codes: vec![digest],
            replace: false,
        };
        self.store.put_second_factor(&alice(), &factor, &self.actor()).await.unwrap();
        code.to_string()
    }

    /// The code of so many steps from now; from -1 to 1 they are right.
    fn code(&self, steps: i64) -> String {
        let seconds = u64::try_from(self.clock.now().utc.as_secs() + 30 * steps).unwrap();
        let totp = Builder::new().with_secret(Secret::new_stack(SECRET)).build().unwrap();
        totp.generate(seconds).to_string()
    }

    async fn want(&self, mode: SecondFactorMode) {
        let policy = PolicyRecord { second_factor: Some(mode), ..Default::default() };
        let policy = PolicyRecord { name: "default".into(), ..policy };
        self.store.put_policy(&policy, true, &self.actor()).await.unwrap();
    }
}

fn scrv1(password: &str, code: &str) -> String {
    format!("SCRV1:{}:{}", STANDARD.encode(password), STANDARD.encode(code))
}

impl Controller {
    async fn come(&mut self, cid: u32, password: &str) {
        self.connect(cid, "alice", password, Some(MAC)).await;
    }

    /// Expects an approval, and says that the client is up.
    async fn let_in(&mut self, cid: u32) {
        self.expect(&format!("client-auth {cid} 1")).await;
        while self.line().await != "END" {}
        self.establish(cid).await;
    }

    /// Expects a denial that asks for a code; the state of its challenge.
    async fn challenged(&mut self, cid: u32) -> String {
        let line = self.line().await;
        let head = format!("client-deny {cid} 1 \"second_factor\" \"CRV1:R,E:");
        let tail = ":YWxpY2U=:Enter your one-time code\"";
        let state = line.strip_prefix(&head).and_then(|rest| rest.strip_suffix(tail));
        let state = state.unwrap_or_else(|| panic!("{line}")).to_owned();
        self.say("SUCCESS: client-deny command succeeded\n").await;
        state
    }

    /// Comes with `IV_SSO`, and expects the question.
    async fn come_with_sso(&mut self, cid: u32, password: &str) {
        self.say(&format!(
            ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,password={password}\n>CLIENT:ENV,username=alice\n\
             >CLIENT:ENV,UV_CLIENT_MAC={MAC}\n>CLIENT:ENV,untrusted_ip=192.0.2.7\n\
             >CLIENT:ENV,IV_PROTO=990\n>CLIENT:ENV,IV_SSO=webauth,crtext\n>CLIENT:ENV,END\n"
        ))
        .await;
    }

    async fn asked(&mut self, cid: u32) {
        self.expect(&format!(
            "client-pending-auth {cid} 1 \"CR_TEXT:R,E:Enter your one-time code\" 15"
        ))
        .await;
        self.say("SUCCESS: client-pending-auth command succeeded\n").await;
    }

    async fn answer(&mut self, cid: u32, code: &str) {
        let code = STANDARD.encode(code);
        self.say(&format!(
            ">CLIENT:CR_RESPONSE,{cid},1,{code}\n>CLIENT:ENV,username=alice\n>CLIENT:ENV,END\n"
        ))
        .await;
    }

    async fn is_wrong(&mut self) {
        expect_denial(self, "bad_second_factor", "The one-time code was wrong").await;
    }
}

#[tokio::test]
async fn by_static_challenge_a_code_is_taken_once_and_a_wrong_one_is_refused() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    let code = bed.code(0);
    controller.come(0, &scrv1(PASSWORD, &code)).await;
    controller.let_in(0).await;
    controller.come(1, &scrv1(PASSWORD, &code)).await;
    controller.is_wrong().await;
    controller.come(2, &scrv1(PASSWORD, &bed.code(9))).await;
    controller.is_wrong().await;
    controller.come(3, &scrv1(PASSWORD, &bed.code(1))).await;
    controller.let_in(3).await;
    controller.come(4, &scrv1(PASSWORD, &code)).await;
    controller.is_wrong().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_profile_with_a_static_challenge_serves_users_without_a_second_factor() {
    let (_listener, _bed, daemon, mut controller) = attached().await;
    controller.come(0, &scrv1(PASSWORD, "000000")).await;
    controller.let_in(0).await;
    controller.come(1, &scrv1("wrong", "000000")).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_code_says_nothing_to_who_does_not_have_the_password() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    let code = bed.code(0);
    for (cid, password) in [(0, scrv1("wrong", &code)), (1, scrv1("wrong", "000000"))].into_iter() {
        controller.come(cid, &password).await;
        expect_denial(&mut controller, "bad_credentials", "Wrong username or password").await;
    }
    controller.connect(2, "nobody", &scrv1(PASSWORD, &code), Some(MAC)).await;
    expect_denial(&mut controller, "unknown_user", "Wrong username or password").await;
    controller.come(3, &scrv1(PASSWORD, &code)).await;
    controller.let_in(3).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_disabled_user_is_not_asked_for_a_code() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    let off = UserPatch { enabled: Some(false), ..UserPatch::default() };
    bed.store.patch_user(&alice(), &off, &bed.actor()).await.unwrap();
    controller.come(0, PASSWORD).await;
    expect_denial(&mut controller, "account_disabled", "Wrong username or password").await;
    controller.come_with_sso(1, PASSWORD).await;
    expect_denial(&mut controller, "account_disabled", "Wrong username or password").await;
    daemon.stop().await;
}

#[tokio::test]
async fn by_dynamic_challenge_the_client_comes_again_with_the_code() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come(0, "wrong").await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    controller.come(1, PASSWORD).await;
    let state = controller.challenged(1).await;
    let answer = format!("CRV1::{state}::{}", bed.code(0));
    controller.come(2, &answer).await;
    controller.let_in(2).await;
    // Who has an answer cannot use it again.
    controller.come(3, &answer).await;
    controller.is_wrong().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_challenge_is_of_its_user_device_and_password_and_forging_one_is_nobodys_guess() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    bed.add_user("bob", PASSWORD).await;
    controller.come(0, PASSWORD).await;
    let state = controller.challenged(0).await;
    let answer = format!("CRV1::{state}::{}", bed.code(0));
    controller.connect(1, "bob", &answer, Some(MAC)).await;
    controller.is_wrong().await;
    controller.connect(2, "alice", &answer, Some("02:1a:2b:3c:4d:5f")).await;
    controller.is_wrong().await;
    for cid in 3..8 {
        controller.come(cid, &format!("CRV1::{}::{}", "A".repeat(43), bed.code(0))).await;
        controller.is_wrong().await;
    }
    controller.connect(8, "nobody", &answer, Some(MAC)).await;
    controller.is_wrong().await;
    // A new password voids it, from the next second on.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let hash = password::hash(&Password::from(&b"another"[..]), &CHEAP).unwrap();
    let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
    bed.store.patch_user(&alice(), &patch, &bed.actor()).await.unwrap();
    controller.come(9, &answer).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_can_is_asked_while_it_connects() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come_with_sso(0, "wrong").await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    controller.come_with_sso(1, PASSWORD).await;
    controller.asked(1).await;
    controller.answer(1, &bed.code(0)).await;
    controller.let_in(1).await;
    controller.come_with_sso(2, PASSWORD).await;
    controller.asked(2).await;
    controller.answer(2, "000000").await;
    controller.is_wrong().await;
    // A static answer makes the question needless.
    controller.come_with_sso(3, &scrv1(PASSWORD, &bed.code(1))).await;
    controller.let_in(3).await;
    daemon.stop().await;
}

#[tokio::test]
async fn who_does_not_answer_is_denied_and_told_to_log_in_again() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come_with_sso(0, PASSWORD).await;
    controller.asked(0).await;
    let begun = bed.clock.now().mono;
    controller.is_wrong().await;
    let waited = bed.clock.now().mono - begun;
    assert!((1_900..3_000).contains(&waited.as_millis()), "{waited:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn guessing_codes_is_throttled_and_a_challenge_forgives_nothing() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come(0, &scrv1(PASSWORD, "000000")).await;
    controller.is_wrong().await;
    controller.come(1, PASSWORD).await;
    let state = controller.challenged(1).await;
    controller.come(2, &format!("CRV1::{state}::000000")).await;
    controller.is_wrong().await;
    controller.come_with_sso(3, PASSWORD).await;
    controller.asked(3).await;
    controller.answer(3, "000000").await;
    controller.is_wrong().await;
    controller.come(4, &scrv1(PASSWORD, &bed.code(0))).await;
    expect_denial(&mut controller, "throttled", "Too many failed attempts").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_recovery_code_serves_once_in_place_of_a_code() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let recovery = bed.enrol().await;
    controller.come(0, &scrv1(PASSWORD, &recovery.to_uppercase())).await;
    controller.let_in(0).await;
    controller.come(1, &scrv1(PASSWORD, &recovery)).await;
    controller.is_wrong().await;
    let left = bed.store.second_factor(&alice()).await.unwrap().unwrap();
    assert_eq!((left.recovery_codes, left.last_step), (0, None));
    daemon.stop().await;
}

#[tokio::test]
async fn the_policy_says_whether_a_code_is_needed() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.want(SecondFactorMode::Required).await;
    controller.come(0, PASSWORD).await;
    expect_denial(&mut controller, "second_factor_required", "ask your administrator").await;
    controller.come_with_sso(1, &scrv1(PASSWORD, "000000")).await;
    expect_denial(&mut controller, "second_factor_required", "ask your administrator").await;
    bed.enrol().await;
    controller.come(2, PASSWORD).await;
    controller.challenged(2).await;
    bed.want(SecondFactorMode::Off).await;
    controller.come(3, PASSWORD).await;
    controller.let_in(3).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_renegotiation_is_never_asked_whatever_let_the_client_in() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let recovery = bed.enrol().await;
    controller.come(0, PASSWORD).await;
    let state = controller.challenged(0).await;
    let dynamic = format!("CRV1::{state}::{}", bed.code(0));
    let by_static = scrv1(PASSWORD, &bed.code(1));
    controller.come(1, &dynamic).await;
    controller.let_in(1).await;
    controller.come(2, &by_static).await;
    controller.let_in(2).await;
    controller.come_with_sso(3, PASSWORD).await;
    controller.asked(3).await;
    controller.answer(3, &recovery).await;
    controller.let_in(3).await;
    // Each sends what it sent at first; the codes are used, and the challenge may be old.
    for (cid, sent) in [(1, &*dynamic), (2, &by_static), (3, PASSWORD)] {
        for kid in [2, 3] {
            controller.ask("REAUTH", cid, kid, "alice", sent, Some(MAC)).await;
            controller.expect(&format!("client-auth-nt {cid} {kid}")).await;
            controller.say("SUCCESS: client-auth command succeeded\n").await;
        }
    }
    controller.ask("REAUTH", 2, 4, "alice", &scrv1("wrong", "000000"), Some(MAC)).await;
    let line = controller.line().await;
    assert!(line.starts_with("client-deny 2 4 \"bad_credentials\""), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_renegotiation_by_a_used_challenge_ends_with_a_new_password() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come(0, PASSWORD).await;
    let state = controller.challenged(0).await;
    let answer = format!("CRV1::{state}::{}", bed.code(0));
    controller.come(1, &answer).await;
    controller.let_in(1).await;
    let begun = bed.clock.now().utc;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let hash = password::hash(&Password::from(&b"another"[..]), &CHEAP).unwrap();
    let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
    bed.store.patch_user(&alice(), &patch, &bed.actor()).await.unwrap();
    controller
        .say(&format!(
            ">CLIENT:REAUTH,1,2\n>CLIENT:ENV,password={answer}\n>CLIENT:ENV,username=alice\n\
             >CLIENT:ENV,common_name=alice\n>CLIENT:ENV,UV_CLIENT_MAC={MAC}\n\
             >CLIENT:ENV,time_unix={}\n>CLIENT:ENV,END\n",
            begun.as_secs()
        ))
        .await;
    let line = controller.line().await;
    assert!(line.starts_with("client-deny 1 2 \"bad_credentials\""), "{line}");
    daemon.stop().await;
}

#[tokio::test]
async fn half_a_login_registers_no_device() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    let policy = PolicyRecord {
        name: "default".into(),
        device_mode: Some(DeviceMode::Approve),
        ..PolicyRecord::default()
    };
    bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    const NEW: &str = "02:1a:2b:3c:4d:99";
    let devices = async || bed.store.devices(Some(&alice()), 9).await.unwrap().len();
    controller.connect(0, "alice", PASSWORD, Some(NEW)).await;
    controller.challenged(0).await;
    controller.connect(1, "alice", &scrv1(PASSWORD, "000000"), Some(NEW)).await;
    controller.is_wrong().await;
    assert_eq!(devices().await, 1);
    controller.connect(2, "alice", &scrv1(PASSWORD, &bed.code(0)), Some(NEW)).await;
    expect_denial(&mut controller, "device_pending", "").await;
    assert_eq!(devices().await, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_damaged_denies_for_a_moment() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let factor = NewSecondFactor {
        secret: Password::from(&b"not base32!"[..]),
        recovery_codes: Vec::new(),
        replace: false,
    };
    bed.store.put_second_factor(&alice(), &factor, &bed.actor()).await.unwrap();
    controller.come(0, &scrv1(PASSWORD, "000000")).await;
    expect_denial(&mut controller, "backend_unavailable", "TEMP").await;
    daemon.stop().await;
}

#[tokio::test]
async fn guessing_codes_from_many_addresses_is_throttled_too() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let recovery = bed.enrol().await;
    controller.come(100, &scrv1(PASSWORD, &bed.code(0))).await;
    controller.let_in(100).await;
    bed.any_session(|session| session.client_ip.is_some()).await;
    for cid in 0..5 {
        let line = controller.denial_elsewhere(cid, &scrv1(PASSWORD, "000000")).await;
        assert!(line.contains("bad_second_factor"), "{line}");
    }
    let line = controller.denial_elsewhere(5, &scrv1(PASSWORD, &bed.code(0))).await;
    assert!(line.contains("throttled"), "{line}");
    // Who has stolen the password keeps nobody out of where he usually is, nor from a recovery code.
    controller.come(6, &scrv1(PASSWORD, &bed.code(1))).await;
    controller.let_in(6).await;
    controller.connect(7, "alice", &scrv1(PASSWORD, &recovery), Some(MAC)).await;
    controller.let_in(7).await;
    daemon.stop().await;
}

#[tokio::test]
async fn with_a_shared_key_the_answer_may_come_to_another_daemon() {
    for is_shared in [true, false] {
        let listeners = [Listener::tcp().await, Listener::tcp().await];
        let mut bed = Bed::new(&listeners[0]).await;
        bed.enrol().await;
        bed.config.session.accounting_interval = Duration::from_secs(60);
        bed.config.auth.challenge_key = is_shared.then(|| Password::new(vec![7; 32]));
        let first = bed.start();
        let port = listeners[1].address().port();
        bed.config.servers[0].name = "other".parse().unwrap();
        bed.config.servers[0].management = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        let second = bed.start();
        let mut one = listeners[0].accept().await;
        one.attach(RUN, &[]).await;
        let mut two = listeners[1].accept().await;
        two.attach(RUN, &[]).await;
        one.come(0, PASSWORD).await;
        let state = one.challenged(0).await;
        let code = bed.code(0);
        two.come(0, &format!("CRV1::{state}::{code}")).await;
        match is_shared {
            true => two.let_in(0).await,
            false => two.is_wrong().await,
        }
        // The same code at the first daemon: taken already, or not yet.
        one.come(1, &scrv1(PASSWORD, &code)).await;
        match is_shared {
            true => one.is_wrong().await,
            false => one.let_in(1).await,
        }
        first.stop().await;
        second.stop().await;
    }
}

/// Runs SQL of the test's own.
async fn sql(bed: &Bed, text: &str) {
    let url = format!("sqlite://{}", bed.database().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_fault_after_the_code_is_no_failed_login_and_does_not_use_the_code_up() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let recovery = bed.enrol().await;
    let policy = PolicyRecord { max_sessions: Some(9), ..Default::default() };
    let policy = PolicyRecord { name: "default".into(), ..policy };
    bed.store.put_policy(&policy, true, &bed.actor()).await.unwrap();
    sql(
        &bed,
        "CREATE TRIGGER fault BEFORE INSERT ON session_claims \
         BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END",
    )
    .await;
    let by_code = scrv1(PASSWORD, &bed.code(1));
    for cid in 0..6 {
        let sent = if cid % 2 == 0 { by_code.clone() } else { scrv1(PASSWORD, &recovery) };
        controller.come(cid, &sent).await;
        expect_denial(&mut controller, "backend_unavailable", "TEMP").await;
    }
    sql(&bed, "DROP TRIGGER fault").await;
    controller.come(6, &by_code).await;
    controller.let_in(6).await;
    controller.come(7, &scrv1(PASSWORD, &recovery)).await;
    controller.let_in(7).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_code_that_was_used_is_refused_and_nobodys_guess() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let recovery = scrv1(PASSWORD, &bed.enrol().await);
    let by_code = scrv1(PASSWORD, &bed.code(0));
    for (cid, sent) in [(0, &by_code), (1, &recovery)] {
        controller.come(cid, sent).await;
        controller.let_in(cid).await;
    }
    for cid in 2..10 {
        controller.come(cid, if cid % 2 == 0 { &by_code } else { &recovery }).await;
        controller.is_wrong().await;
    }
    controller.come(10, &scrv1(PASSWORD, &bed.code(1))).await;
    controller.let_in(10).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_made_up_recovery_code_says_nothing_of_the_device() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    for (cid, mac) in [(0, "02:00:00:00:00:99"), (1, MAC)] {
        let password = scrv1(PASSWORD, "aaaa-bbbb-cccc-dddd");
        controller.connect(cid, "alice", &password, Some(mac)).await;
        controller.is_wrong().await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_hash_of_who_is_asked_for_a_code_is_strengthened_too() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.session.accounting_interval = Duration::from_secs(60);
    bed.config.auth.argon2_t = 2;
    bed.enrol().await;
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.come(0, PASSWORD).await;
    controller.challenged(0).await;
    let is_stronger = async || {
        let user = bed.store.user(&alice()).await.unwrap().unwrap();
        user.password_hash.unwrap().contains("t=2")
    };
    for _ in 0..200 {
        if is_stronger().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_stronger().await);
    daemon.stop().await;
}

#[tokio::test]
async fn a_renegotiation_with_the_password_alone_does_not_pass_for_one_with_a_code() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come(0, &scrv1(PASSWORD, &bed.code(0))).await;
    controller.let_in(0).await;
    // Who has the password alone, and sends from the client's address and port.
    controller.ask("REAUTH", 0, 2, "alice", PASSWORD, Some(MAC)).await;
    let line = controller.line().await;
    assert!(line.starts_with("client-deny 0 2 \"second_factor_required\""), "{line}");
    controller.say("SUCCESS: client-deny command succeeded\n").await;
    controller.expect("client-kill 0 \"RESTART,Please log in again\"").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_renegotiation_may_bring_a_code_of_its_own() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    bed.enrol().await;
    controller.come(0, &scrv1(PASSWORD, &bed.code(0))).await;
    controller.let_in(0).await;
    let by_code = scrv1(PASSWORD, &bed.code(1));
    controller.ask("REAUTH", 0, 2, "alice", &by_code, Some(MAC)).await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;
    controller.come(1, &by_code).await;
    controller.is_wrong().await;
    daemon.stop().await;
}
