//! Client configuration, on every backend.

use std::sync::Arc;

use ovpn_warden::store::{
    ClientConfig, ConfigOwner, MAX_CLIENT_LINES, NewLine, PolicyRecord, StoreError, StoredLine,
};

use super::bed::{Bed, at, by, name};

fn line(server: &str, text: &str) -> StoredLine {
    let server = (!server.is_empty()).then(|| server.parse().unwrap());
    StoredLine { server, text: text.into() }
}

pub fn new(server: &str, text: &str, address: &str) -> NewLine {
    NewLine { line: line(server, text), address: address.parse().ok() }
}

fn user(name: &str) -> ConfigOwner {
    ConfigOwner::User(name.parse().unwrap())
}

/// The lines of the login.
async fn at_login(bed: &Bed) -> ClientConfig {
    bed.store.facts(&name("alice"), None, None, at(0)).await.unwrap().unwrap().config
}

pub async fn lines_come_with_the_facts_and_go_with_their_owner(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    assert_eq!(at_login(&bed).await, ClientConfig::default());
    let own = [
        new("", "push \"dhcp-option DOMAIN zoë.example\"", ""),
        new("", "ifconfig-push 10.8.0.5 255.255.255.0", "10.8.0.5"),
        new("udp", "iroute 10.5.0.0 255.255.0.0", ""),
    ];
    bed.store.put_client_config(&user("alice"), &[], &own, &by()).await.unwrap();
    let of_policy: Vec<_> =
        (0..20).map(|n| new("", &format!("push \"route 10.{n}.0.0 255.255.0.0\""), "")).collect();
    let default = ConfigOwner::Policy("default".into());
    bed.store.put_client_config(&default, &[], &of_policy, &by()).await.unwrap();
    let lines = |new: &[NewLine]| new.iter().map(|new| new.line.clone()).collect::<Vec<_>>();
    let found = at_login(&bed).await;
    assert_eq!(found, ClientConfig { policy: lines(&of_policy), user: lines(&own) });
    assert_eq!(bed.store.client_config(&user("alice")).await, Ok(lines(&own)));
    assert_eq!(bed.store.client_config(&default).await, Ok(lines(&of_policy)));
    let query = "SELECT detail FROM admin_audit WHERE action = 'user.config'";
    assert!(bed.texts(query).await[0].contains("+[udp] iroute 10.5.0.0 255.255.0.0"));

    let staff = PolicyRecord { name: "staff".into(), ..PolicyRecord::default() };
    bed.store.put_policy(&staff, false, &by()).await.unwrap();
    let staff = ConfigOwner::Policy("staff".into());
    bed.store.put_client_config(&staff, &[], &[new("", "push-reset", "")], &by()).await.unwrap();
    bed.store.remove_policy("staff", &by()).await.unwrap();
    let left = bed.texts("SELECT option_line FROM policy_config WHERE policy = 'staff'").await;
    assert_eq!(left, [""; 0]);
    bed.store.remove_user(&name("alice"), &by()).await.unwrap();
    assert_eq!(bed.texts("SELECT option_line FROM user_config").await, [""; 0]);
    let gone = bed.store.client_config(&user("alice")).await;
    assert_eq!(gone, Err(StoreError::NotFound("user `alice`".into())));
    let gone = bed.store.put_client_config(&staff, &[], &[], &by()).await;
    assert_eq!(gone, Err(StoreError::NotFound("policy `staff`".into())));
}

pub async fn as_many_lines_as_there_may_be_are_all_there(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let long = |n: usize| format!("push \"{}{n:03}\"", "é".repeat(122));
    let server = "s".repeat(64);
    let all: Vec<_> = (0..MAX_CLIENT_LINES).map(|n| new(&server, &long(n), "")).collect();
    assert_eq!(all[0].line.text.len(), 255 - 1);
    bed.store.put_client_config(&user("alice"), &[], &all, &by()).await.unwrap();
    let found = at_login(&bed).await.user;
    assert_eq!(found, all.iter().map(|new| new.line.clone()).collect::<Vec<_>>());
    // Somebody has put more into the table than can be read.
    bed.sql(
        "INSERT INTO user_config (user_id, server, position, option_line) \
         SELECT user_id, 'more', position, option_line FROM user_config",
    )
    .await;
    let spoilt = bed.store.facts(&name("alice"), None, None, at(0)).await;
    assert!(matches!(spoilt, Err(StoreError::Corrupt(text)) if text.contains("user_config")));
}

pub async fn an_address_belongs_to_one_user_of_a_server(bed: Arc<Bed>) {
    for user in ["alice", "bob"] {
        bed.add_user(user).await;
    }
    let give = async |to: &str, server: &str| {
        let line = [new(server, "ifconfig-push 10.8.0.5 255.255.255.0", "10.8.0.5")];
        let before = bed.store.client_config(&user(to)).await.unwrap();
        bed.store.put_client_config(&user(to), &before, &line, &by()).await
    };
    let taken = || Err(StoreError::Exists("address 10.8.0.5 of user `alice`".into()));
    give("alice", "udp").await.unwrap();
    assert_eq!(give("bob", "udp").await, taken());
    assert_eq!(give("bob", "").await, taken(), "all servers are that one, too");
    give("bob", "tcp").await.unwrap();
    give("alice", "udp").await.unwrap();
    bed.store.remove_user(&name("bob"), &by()).await.unwrap();
    bed.add_user("bob").await;
    give("alice", "").await.unwrap();
    assert_eq!(give("bob", "tcp").await, taken(), "one server is among all");
    let (one, two) = (bed.second(), bed.second());
    let line = [new("", "ifconfig-push 10.8.0.9 255.255.255.0", "10.8.0.9")];
    let before = bed.store.client_config(&user("alice")).await.unwrap();
    let (alice, bob) = (user("alice"), user("bob"));
    let (by, by_other) = (by(), by());
    let (a, b) = tokio::join!(
        one.put_client_config(&alice, &before, &line, &by),
        two.put_client_config(&bob, &[], &line, &by_other),
    );
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|is_done| **is_done).count(), 1, "{a:?} {b:?}");
}

pub async fn an_address_for_all_servers_and_for_one_is_given_once_at_a_time(bed: Arc<Bed>) {
    for user in ["alice", "bob"] {
        bed.add_user(user).await;
    }
    let (one, two) = (bed.second(), bed.second());
    let (alice, bob, actor) = (user("alice"), user("bob"), by());
    for round in 1..=12 {
        let address = format!("10.8.1.{round}");
        let line =
            |server| [new(server, &format!("ifconfig-push {address} 255.255.255.0"), &address)];
        let (all, udp) = (line(""), line("udp"));
        let (a, b) = tokio::join!(
            one.put_client_config(&alice, &[], &all, &actor),
            two.put_client_config(&bob, &[], &udp, &actor),
        );
        let done = [a.is_ok(), b.is_ok()];
        assert_eq!(done.iter().filter(|is_done| **is_done).count(), 1, "{round}: {a:?} {b:?}");
        bed.sql("DELETE FROM user_config").await;
    }
}

pub async fn rows_by_hand_and_of_nobody_do_not_hold_an_address(bed: Arc<Bed>) {
    for user in ["alice", "bob"] {
        bed.add_user(user).await;
    }
    // As somebody writes it who does not know of the column `address`.
    for (position, line) in
        ["ifconfig-push 10.8.0.5 255.255.255.0", "ifconfig-ipv6-push fd00::5/64 fd00::1"]
            .iter()
            .enumerate()
    {
        bed.sql(&format!(
            "INSERT INTO user_config (user_id, server, position, option_line) \
             SELECT id, 'udp', {position}, '{line}' FROM users WHERE name = 'alice'"
        ))
        .await;
    }
    let give = async |line: &str, address: &str| {
        let before = bed.store.client_config(&user("bob")).await.unwrap();
        bed.store.put_client_config(&user("bob"), &before, &[new("", line, address)], &by()).await
    };
    let taken =
        |address: &str| Err(StoreError::Exists(format!("address {address} of user `alice`")));
    assert_eq!(give("ifconfig-push 10.8.0.5 255.255.255.0", "10.8.0.5").await, taken("10.8.0.5"));
    assert_eq!(give("ifconfig-ipv6-push fd00::5/64 fd00::1", "fd00::5").await, taken("fd00::5"));
    give("ifconfig-push 110.8.0.5 255.255.255.0", "110.8.0.5").await.unwrap();
    // Of a user who went without our knowing, out of an operator's own table.
    bed.sql("INSERT INTO user_config VALUES (4711, '', 0, 'ifconfig-push 10.8.0.9 255.255.255.0', '10.8.0.9')")
        .await;
    give("ifconfig-push 10.8.0.9 255.255.255.0", "10.8.0.9").await.unwrap();
}

pub async fn a_change_to_what_has_changed_meanwhile_is_refused(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let put = async |owner: &ConfigOwner, before: &[StoredLine], text: &str| {
        bed.store.put_client_config(owner, before, &[new("", text, "")], &by()).await
    };
    for owner in [user("alice"), ConfigOwner::Policy("default".into())] {
        put(&owner, &[], "push \"a\"").await.unwrap();
        let stale = put(&owner, &[], "push \"b\"").await;
        assert!(matches!(stale, Err(StoreError::InUse(_))), "{stale:?}");
        assert_eq!(bed.store.client_config(&owner).await, Ok(vec![line("", "push \"a\"")]));
        put(&owner, &[line("", "push \"a\"")], "push \"b\"").await.unwrap();
    }
}
