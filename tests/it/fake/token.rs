//! `auth-gen-token … external-auth`: OpenVPN's session token in place of the password.

use base64::{Engine, engine::general_purpose::STANDARD};
use ovpn_warden::store::UserPatch;

use super::*;

/// A token of a first login at this time.
fn token(first_login: Timestamp) -> String {
    let mut bytes = [7; 60];
    bytes[12..20].copy_from_slice(&first_login.as_secs().to_be_bytes());
    format!("SESS_ID_AT_{}", STANDARD.encode(bytes))
}

impl Controller {
    async fn come_with_token(&mut self, event: &str, cid: u32, kid: u32, token: &str, state: &str) {
        self.say(&format!(
            ">CLIENT:{event},{cid},{kid}\n>CLIENT:ENV,session_id=AAAA\n>CLIENT:ENV,session_state={state}\n\
             >CLIENT:ENV,password={token}\n>CLIENT:ENV,common_name=alice\n>CLIENT:ENV,username=alice\n\
             >CLIENT:ENV,UV_CLIENT_MAC={MAC}\n>CLIENT:ENV,END\n"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_valid_token_serves_as_the_password_but_not_for_another_device() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let good = token(bed.clock.now().utc);
    controller.come_with_token("CONNECT", 0, 1, &good, "Authenticated").await;
    controller.expect("client-auth 0 1").await;
    controller.line().await;
    controller.expect("END").await;
    controller.establish(0).await;
    controller.come_with_token("REAUTH", 0, 2, &good, "Authenticated").await;
    controller.expect("client-auth-nt 0 2").await;
    controller.say("SUCCESS: client-auth command succeeded\n").await;

    let device = DeviceId::parse(MAC).unwrap();
    bed.store
        .set_device_status(&"alice".parse().unwrap(), &device, DeviceStatus::Blocked, &bed.actor())
        .await
        .unwrap();
    controller.come_with_token("REAUTH", 0, 3, &good, "Authenticated").await;
    assert!(controller.line().await.starts_with("client-deny 0 3 \"device_blocked\""));
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_stands_for_a_second_factor_that_is_older() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let factor = store::NewSecondFactor {
        secret: ovpn_warden::auth::second_factor::totp::new_secret([7; 20]),
        recovery_codes: Vec::new(),
        replace: false,
    };
    let alice = "alice".parse().unwrap();
    let now = bed.clock.now().utc;
    let later = now.saturating_add(Duration::from_secs(60));
    let by = Actor { at: later, ..bed.actor() };
    bed.store.put_second_factor(&alice, &factor, &by).await.unwrap();
    controller.come_with_token("CONNECT", 0, 1, &token(later), "Authenticated").await;
    controller.expect("client-auth 0 1").await;
    while controller.line().await != "END" {}
    controller.establish(0).await;
    let old = token(now);
    controller.come_with_token("CONNECT", 1, 1, &old, "Authenticated").await;
    expect_denial(&mut controller, "second_factor", "CRV1:R,E:").await;
    // A session that runs is not asked, however old its token.
    controller.come_with_token("REAUTH", 0, 2, &old, "Authenticated").await;
    controller.expect("client-auth-nt 0 2").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_openvpn_refused_is_refused_and_is_nobodys_guess() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let token = token(bed.clock.now().utc);
    for (cid, state) in
        ["Expired", "Invalid", "Initial", "AuthenticatedEmptyUser"].iter().enumerate()
    {
        controller.come_with_token("CONNECT", u32::try_from(cid).unwrap(), 1, &token, state).await;
        expect_denial(&mut controller, "bad_credentials", "").await;
    }
    // Three wrong passwords would have locked her out.
    controller.connect(9, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 9 1").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_live_client_whose_token_expires_may_come_back_with_its_password() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    for _ in 0..3 {
        controller.line().await;
    }
    controller.establish(0).await;
    bed.session(|s| s.state == SessionState::Active).await;
    let token = token(bed.clock.now().utc);
    controller.come_with_token("REAUTH", 0, 2, &token, "Expired").await;
    assert!(controller.line().await.starts_with("client-deny 0 2 \"bad_credentials\""));
    controller.expect("client-kill 0 \"RESTART,Please log in again\"").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_new_password_voids_the_tokens_of_the_old_one() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    let now = bed.clock.now().utc;
    let old = token(now.saturating_sub(Duration::from_secs(60)));
    let hash = password::hash(&Password::from(&b"new"[..]), &CHEAP).unwrap();
    let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
    bed.store.patch_user(&"alice".parse().unwrap(), &patch, &bed.actor()).await.unwrap();
    controller.come_with_token("CONNECT", 0, 1, &old, "Authenticated").await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    controller.come_with_token("CONNECT", 1, 1, &token(bed.clock.now().utc), "Authenticated").await;
    controller.expect("client-auth 1 1").await;
    daemon.stop().await;
}
