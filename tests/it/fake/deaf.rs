//! A server that reads nothing while its clients ask: its socket's buffers fill, and what waits for it is bounded.

use std::{fs, time::Duration};

use ovpn_warden::store::{ConfigOwner, MAX_CLIENT_LINES, NewLine, SessionFilter, StoredLine};
use serde_json::Value;
use tokio::process::Child;

use super::{Bed, Listener, MAC, RUN, client_row, expect_denial, metrics::beside_with};

/// Clients that ask in a quarter of a second. Approvals are of 16 KiB each: some 8 MiB of them go into the buffers of a
/// connection on the loopback, and much less than the rest may wait in the daemon.
const CROWD: u32 = 100;

/// KiB.
pub fn resident(daemon: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn lost(bed: &Bed) -> Option<Value> {
    let log = fs::read_to_string(bed.folder().join("log")).unwrap();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["event"] == "link.lost" && line["server"] == "udp")
}

fn connect(cid: u32) -> String {
    format!(
        ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,password=correct horse\n>CLIENT:ENV,username=alice\n\
         >CLIENT:ENV,UV_CLIENT_MAC={MAC}\n>CLIENT:ENV,untrusted_ip=192.0.2.7\n>CLIENT:ENV,END\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_reads_nothing_until_all_buffers_are_full_is_given_up_and_costs_no_other_one_anything()
 {
    let (deaf, other) = (Listener::tcp().await, Listener::tcp().await);
    let bed = Bed::new(&deaf).await;
    let more = format!(
        "hash_queue = 600\n[throttle]\naddress_failures = 0\nuser_failures = 0\n\
         [[servers]]\nname = \"other\"\nmanagement = \"tcp://{}\"\n",
        other.address()
    );
    let attach = async {
        let mut controller = other.accept().await;
        controller.attach(RUN, &[]).await;
        controller
    };
    let ((daemon, mut deafened, _), mut other) =
        tokio::join!(beside_with(&bed, &deaf, &more), attach);
    let text = format!("push \"setenv-safe note {}\"", "x".repeat(220)).into();
    let line = NewLine { line: StoredLine { server: None, text }, address: None };
    let policy = ConfigOwner::Policy("default".into());
    let lines = vec![line; MAX_CLIENT_LINES];
    bed.store.put_client_config(&policy, &[], &lines, &bed.actor()).await.unwrap();
    let before = resident(&daemon);

    let ask = async {
        let mut cid = 1;
        while deafened.try_say(&connect(cid)).await {
            cid += 1;
            if cid % CROWD == 0 {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        cid
    };
    let watch = async {
        let mut most = 0;
        for cid in 0..240 {
            let asked = bed.clock.now().mono;
            other.connect(cid, "alice", "wrong", Some(MAC)).await;
            expect_denial(&mut other, "bad_credentials", "").await;
            assert!(bed.clock.now().mono - asked < Duration::from_secs(5), "the other one waits");
            most = most.max(resident(&daemon));
            if let Some(line) = lost(&bed) {
                return (most, line);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("the connection is never given up");
    };
    let (asked, (most, line)) = tokio::join!(ask, watch);
    assert!(line["error"].as_str().unwrap().contains("does not read our commands"), "{line}");
    // Room for twice of it, rows, questions and what the allocator keeps.
    assert!(most - before < 160 << 10, "{before} KiB and then {most} KiB, of {asked} clients");

    // It reads again; nobody has come in meanwhile, and who was in has stayed.
    drop(deafened);
    let mut again = deaf.accept().await;
    again.attach(RUN, &[client_row(0, "alice", "10.8.0.6")]).await;
    again.ask("REAUTH", 0, 2, "alice", "correct horse", Some(MAC)).await;
    let mut is_answered = false;
    let filter = SessionFilter { limit: 100, ..SessionFilter::default() };
    let mut open = Vec::new();
    for _ in 0..2_000 {
        // What was decided while it was deaf is of clients that it does not have any more.
        while let Some(line) = again.line_within(Duration::from_millis(100)).await {
            is_answered |= line == "client-auth-nt 0 2";
            if line.starts_with("client-") {
                again.say("ERROR: client-auth command failed\n").await;
            }
        }
        open = bed.store.sessions(&filter).await.unwrap().iter().map(|row| row.cid.0).collect();
        if is_answered && open == [0] {
            break;
        }
    }
    assert!(is_answered && open == [0], "answered: {is_answered}, open: {open:?}");
}
