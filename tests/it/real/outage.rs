//! The database away for longer, under real clients.

use ovpn_warden::store::{Journal, SessionState};

use super::{SOON, Site};
use crate::lab::{Backend, ClientOptions, ServerOptions, wait_until};

const GRACE: &str = "[auth]\noffline_grace_s = 600\n";

fn site(test: &str, backend: Backend) -> Option<Site> {
    Site::new(test, backend, ServerOptions::default(), GRACE)
}

/// The history, newest first, once it has so many sessions and none is open.
fn history(site: &Site, count: usize) -> Vec<serde_json::Value> {
    let found = wait_until(SOON, || {
        let rows = site.warden.json(&["session", "list", "--all"]);
        let rows = rows.as_array()?.clone();
        let are_closed = rows.iter().all(|row| row["state"] == "closed");
        (rows.len() == count && are_closed).then_some(rows)
    });
    found.unwrap_or_else(|| panic!("not so many:\n{}", site.warden.report()))
}

/// Closed sessions in the journal.
fn journaled(site: &Site) -> usize {
    let journal = Journal::new(site.lab.path().join("journal-1.db"), 64 << 20);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(journal.first(10)).unwrap().sessions;
    rows.iter().filter(|row| row.state == SessionState::Closed).count()
}

#[test]
fn what_ends_and_begins_without_the_database_is_there_after_the_daemon_was_killed() {
    let test = "an outage with a killed daemon";
    let Some(mut site) = site(test, Backend::Mariadb) else { return };
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    assert_eq!(alice.ping(3), 3);
    site.session(|row| row["state"] == "active");
    site.database.stop();
    site.warden.wait_event("store.down", |_| true, SOON);
    alice.signal("TERM");
    assert!(alice.wait_exit(SOON).is_some());
    let first = site.warden.wait_event("session.closed", |_| true, SOON);
    // Known, with the right password: she comes in again.
    let mut again = site.connected(ClientOptions::default());
    let allowed = site.warden.wait_event("auth.allowed", |e| e["offline"] == true, SOON);
    assert_eq!(allowed["user"], "alice");
    again.signal("TERM");
    assert!(again.wait_exit(SOON).is_some());
    let id = allowed["session_id"].clone();
    site.warden.wait_event("session.closed", |e| e["session_id"] == id, SOON);
    site.warden.wait_event("journal.written", |_| true, SOON);
    let is_on_disk = wait_until(SOON, || (journaled(&site) == 2).then_some(()));
    assert!(is_on_disk.is_some(), "{}", site.warden.report());
    site.warden.kill();
    site.database.start();
    let mark = site.warden.mark();
    site.warden.start();
    let replayed = site.warden.wait_event_since(mark, "journal.replayed", |_| true, SOON);
    assert_eq!(replayed["rows"], 2, "each once");
    let rows = history(&site, 2);
    for closed in [first, site.warden.wait_event("session.closed", |e| e["session_id"] == id, SOON)]
    {
        let row = rows.iter().find(|row| row["id"] == closed["session_id"]).unwrap();
        for field in ["cause", "bytes_received", "bytes_sent", "duration_s"] {
            assert_eq!(row[field], closed[field], "{field}");
        }
    }
}

#[test]
fn a_deadline_is_kept_without_the_database_and_the_end_is_there_after_it() {
    let more = "[session]\nlimit_s = 9\n";
    let test = "a deadline in an outage";
    let Some(mut site) = Site::new(test, Backend::Mariadb, ServerOptions::default(), more) else {
        return;
    };
    let mut alice = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.session(|row| row["state"] == "active");
    site.database.stop();
    site.warden.wait_event("store.down", |_| true, SOON);
    assert_eq!(alice.ping(1), 1, "it goes on until its time is over");
    let expired = site.warden.wait_event("session.expired", |_| true, SOON);
    assert_eq!(expired["deadline_reason"], "session_limit");
    assert!(alice.wait_exit(SOON).is_some(), "{}", alice.log());
    let closed = site.warden.wait_event("session.closed", |_| true, SOON);
    assert!(!site.warden.events().iter().any(|event| event["event"] == "store.up"));
    site.database.start();
    let rows = history(&site, 1);
    for field in ["cause", "bytes_received", "bytes_sent", "duration_s"] {
        assert_eq!(rows[0][field], closed[field], "{field}");
    }
    assert_eq!(rows[0]["cause"], "session_limit");
}

#[test]
fn a_session_of_an_outage_goes_on_and_is_in_the_database_after_it() {
    let test = "an outage that ends";
    let Some(mut site) = site(test, Backend::Mysql) else { return };
    let mut alice = site.connected(ClientOptions::default());
    site.session(|row| row["state"] == "active");
    site.database.stop();
    site.warden.wait_event("store.down", |_| true, SOON);
    alice.signal("TERM");
    assert!(alice.wait_exit(SOON).is_some());
    let again = site.connected(ClientOptions { real_tun: true, ..Default::default() });
    site.warden.wait_event("journal.written", |_| true, SOON);
    site.database.start();
    site.warden.wait_event("store.up", |_| true, SOON);
    site.warden.wait_event("journal.replayed", |_| true, SOON);
    assert_eq!(again.ping(2), 2);
    // What came after the last write to the journal follows it.
    let is_as_it_was = wait_until(SOON, || {
        let rows = site.warden.json(&["session", "list", "--all"]);
        let states: Vec<_> = rows.as_array()?.iter().map(|row| row["state"].as_str()).collect();
        (states == [Some("active"), Some("closed")]).then_some(())
    });
    assert!(is_as_it_was.is_some(), "{}", site.warden.report());
}
