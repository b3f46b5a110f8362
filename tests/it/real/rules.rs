//! The rules that need more than one login, at real clients: what each is told, and in the log.

use std::time::Duration;

use super::{SOON, Site};
use crate::lab::{Backend, Client, ClientOptions, PASSWORD, ServerOptions, arguments, wait_until};

fn who(user: &str, mac: &str) -> ClientOptions {
    ClientOptions { user: user.into(), mac: Some(mac.into()), ..Default::default() }
}

impl Site {
    #[track_caller]
    fn is_refused(&self, options: ClientOptions, reason: &str, words: &str) {
        let mark = self.warden.mark();
        let mut client = self.client(options);
        let told = client.refused(SOON);
        let denied = self.warden.wait_event_since(mark, "auth.denied", |_| true, SOON);
        assert_eq!(denied["reason"], reason, "{told}");
        assert!(told.contains(words), "{reason}: the client was told `{told}`");
    }

    #[track_caller]
    fn has_left(&self, mut client: Client) {
        let mark = self.warden.mark();
        client.signal("TERM");
        assert!(client.wait_exit(SOON).is_some());
        drop(client);
        self.warden.wait_event_since(mark, "session.closed", |_| true, 3 * SOON);
    }

    fn add(&self, user: &str, policy: &[&str]) {
        self.warden.ok(&["user", "add", user, "--password-stdin"], PASSWORD);
        self.warden.ok(&[&["policy", "add", user][..], policy].concat(), "");
        self.warden.ok(&["user", "set", user, "--policy", user], "");
    }
}

#[test]
fn devices_are_learned_approved_and_enrolled() {
    let options = ServerOptions::default();
    let Some(site) = Site::new("devices by themselves", Backend::Sqlite, options, "") else {
        return;
    };
    let [one, two, three] = ["02:00:5e:10:00:51", "02:00:5e:10:00:52", "02:00:5e:10:00:53"];
    site.add("linda", &["--device-mode", "learn"]);
    site.has_left(site.connected(who("linda", one)));
    site.is_refused(who("linda", two), "device_unknown", "is not registered for you");
    site.warden.ok(&["device", "enrol", "linda", "--for", "1h"], "");
    site.has_left(site.connected(who("linda", two)));
    site.is_refused(who("linda", three), "device_unknown", "is not registered for you");
    site.add("apollo", &["--device-mode", "approve"]);
    site.is_refused(who("apollo", one), "device_pending", "waits for approval");
    site.is_refused(who("apollo", two), "device_pending", "waits for approval");
    site.warden.ok(&["device", "approve", "apollo", one], "");
    site.has_left(site.connected(who("apollo", one)));
    // The window is for the device that waits.
    site.warden.ok(&["device", "enrol", "apollo", "--for", "1h"], "");
    site.has_left(site.connected(who("apollo", two)));
    site.is_refused(who("apollo", three), "device_pending", "its address is random");
    site.warden.ok(&["device", "set", "apollo", one, "--valid-until", "2026-01-01"], "");
    site.is_refused(who("apollo", one), "device_blocked", "was approved is over");
    let mut ends = site.connected(who("apollo", two));
    site.session(|row| row["state"] == "active");
    let mark = site.warden.mark();
    site.warden.ok(&["device", "set", "apollo", two, "--valid-until", "+3s"], "");
    let closed = site.warden.wait_event_since(mark, "session.closed", |_| true, 3 * SOON);
    assert_eq!(closed["cause"], "device_blocked");
    assert!(ends.wait_exit(SOON).is_some(), "{}", ends.log());
}

#[test]
fn accounts_and_limits_refuse_with_their_reason() {
    let more = "[throttle]\nuser_failures = 2\n";
    let options = ServerOptions::default();
    let Some(site) = Site::new("account rules", Backend::Sqlite, options, more) else { return };
    let alice = ClientOptions::default;
    let set = |arguments: &[&str]| {
        site.warden.ok(&[&["user", "set", "alice"][..], arguments].concat(), "");
    };
    set(&["--valid-from", "+1d"]);
    site.is_refused(alice(), "account_not_yet_valid", "is not valid yet");
    set(&["--valid-from", "none", "--valid-until", "2026-01-01"]);
    site.is_refused(alice(), "account_expired", "has expired");
    set(&["--valid-until", "none"]);
    let policy = |arguments: &[&str]| {
        site.warden.ok(&[&["policy", "set", "default"][..], arguments].concat(), "");
    };
    policy(&["--second-factor", "required"]);
    site.is_refused(alice(), "second_factor_required", "ask your administrator to set one up");
    policy(&["--second-factor", "none", "--max-sessions", "1", "--on-limit", "deny"]);
    let first = site.connected(alice());
    site.is_refused(alice(), "too_many_sessions", "as many devices as permitted");
    // Longer than the quota that follows.
    let _: Option<()> = wait_until(Duration::from_millis(1_500), || None);
    site.has_left(first);
    policy(&["--max-sessions", "none", "--time-quota", "1s/day"]);
    site.is_refused(alice(), "time_quota_used", "connection time is used up");
    policy(&["--time-quota", "none", "--session-limit-s", "3", "--cooldown-s", "600"]);
    let mut over = site.connected(alice());
    assert!(over.wait_exit(3 * SOON).is_some(), "HALT ends the client: {}", over.log());
    site.is_refused(alice(), "cooldown", "wait before you connect again");
    policy(&["--cooldown-s", "none"]);
    for _ in 0..2 {
        let wrong = ClientOptions { password: "wrong".into(), ..alice() };
        site.is_refused(wrong, "bad_credentials", "Wrong username or password");
    }
    site.is_refused(alice(), "throttled", "Too many failed attempts");
}

#[test]
fn the_certificate_of_somebody_else_is_refused() {
    let more = "[auth]\nmatch_common_name = true\n";
    let options = ServerOptions::default();
    let Some(site) = Site::new("common names", Backend::Sqlite, options, more) else { return };
    let with = |name: &str| ClientOptions { certificate: Some(name.into()), ..Default::default() };
    site.is_refused(with("bob"), "common_name_mismatch", "belongs to another user");
    drop(site.connected(with("alice")));
}

#[test]
fn who_comes_back_by_a_token_that_openvpn_judges_alone_does_not_get_around_the_cool_down() {
    let test = "auth-gen-token without external-auth";
    let extra = arguments(&["--auth-gen-token", "3600"]);
    let options = ServerOptions { extra, ..Default::default() };
    let Some(site) = Site::new(test, Backend::Sqlite, options, "") else { return };
    let limits = ["--session-limit-s", "6", "--cooldown-s", "600", "--expiry-action", "restart"];
    site.warden.ok(&[&["policy", "set", "default"][..], &limits].concat(), "");
    let extra = arguments(&["--connect-retry", "1", "1"]);
    let mut alice = site.connected(ClientOptions { extra, ..Default::default() });
    site.warden.wait_event("session.expired", |_| true, 2 * SOON);
    let told = |event: &serde_json::Value| {
        event["event"] == "protocol.unexpected"
            && event["error"].as_str().is_some_and(|text| text.contains("external-auth"))
    };
    if site.server.version() < (2, 6) {
        // It judges the token, and waits for the word of who is not asked.
        let asked = || alice.log().matches("'PUSH_REQUEST'").count() >= 3;
        assert!(wait_until(3 * SOON, || asked().then_some(())).is_some(), "{}", alice.log());
        let tunnels = alice.log().matches("Initialization Sequence Completed").count();
        return assert_eq!(tunnels, 1, "{}\n{}", alice.log(), site.warden.report());
    }
    let seen = wait_until(3 * SOON, || site.warden.events().into_iter().find(told));
    assert!(seen.is_some(), "{}\n{}", alice.log(), site.warden.report());
    let gone = wait_until(3 * SOON, || alice.wait_exit(SOON / 10));
    assert!(gone.is_some(), "{}\n{}", alice.log(), site.warden.report());
    let adopted = site.warden.events().iter().filter(|e| e["event"] == "session.adopted").count();
    assert_eq!(adopted, 0, "{}", site.warden.report());
}
