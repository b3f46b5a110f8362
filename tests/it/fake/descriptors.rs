//! A process without descriptors, which loses its database and its server meanwhile.

use std::time::Duration;

use ovpn_warden::store::{SessionRecord, SessionState};
use tokio::process::Command;

use super::{
    Listener, RUN, client_row,
    metrics::beside_with,
    process::{is_let_in, proc},
    race::Database,
};
use crate::store::proxy::Mode;

/// Logins are back within this time of usable descriptors.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test]
async fn whoever_loses_all_connections_without_descriptors_has_them_again_with_them() {
    let database = Database::new().await;
    let listener = Listener::tcp().await;
    let mut bed = database.bed(&listener, "udp").await;
    bed.store.migrate(false).await.unwrap();
    bed.add_user("alice", "correct horse").await;
    let proxy = bed.behind_a_proxy().await;
    let more = format!(
        "[session]\naccounting_interval_s = 1\n[journal]\npath = \"{}\"\n",
        bed.folder().join("journal.db").display()
    );
    let (mut daemon, mut controller, _) = beside_with(&bed, &listener, &more).await;
    assert!(is_let_in(&mut controller, 1).await);
    bed.any_session(|session| session.cid.0 == 1 && session.state == SessionState::Active).await;

    // The limit is below what is in use: whatever is closed cannot be opened again.
    let pid = daemon.id().unwrap().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=4:"]).status().await;
    assert!(limited.unwrap().success());
    let used = std::fs::read_dir(proc(&daemon, "fd")).unwrap().count();
    proxy.set(Mode::Cut);
    controller.disconnect(0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.set(Mode::Open);
    drop(controller);
    for event in ["link.lost", "store.down"] {
        for _ in 0..200 {
            if !bed.told(event).is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!bed.told(event).is_empty(), "no {event}");
    }
    assert!(std::fs::read_dir(proc(&daemon, "fd")).unwrap().count() < used, "nothing was closed");
    assert!(daemon.try_wait().unwrap().is_none(), "it has ended");

    let freed = Command::new("prlimit").args(["--pid", &pid, "--nofile=1024:"]).status().await;
    assert!(freed.unwrap().success());
    let back = async {
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[client_row(1, "alice", "10.8.0.6")]).await;
        let mut cid = 2;
        while !is_let_in(&mut controller, cid).await {
            cid += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        (controller, cid)
    };
    let back = tokio::time::timeout(BACK, back).await;
    let (_controller, last) = back.expect("logins stay away");
    let is = |cid: u32, state| {
        move |session: &SessionRecord| session.cid.0 == cid && session.state == state
    };
    bed.any_session(is(last, SessionState::Active)).await;
    bed.any_session(is(1, SessionState::Active)).await;
    let left = bed.any_session(is(0, SessionState::Closed)).await;
    assert_eq!((left.bytes_received, left.bytes_sent), (4_000, 5_000));
}
