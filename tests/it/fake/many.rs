//! Many servers on one daemon: what one of them does slows none of the others.

use super::*;

/// Servers that behave.
const GOOD: usize = 24;
/// Logins that the flooding server asks for before it reads a word.
const FLOOD: u32 = 2_000;

async fn bed_of(listeners: &[Listener]) -> Bed {
    let mut bed = Bed::new(&listeners[0]).await;
    // All logins come from one address here.
    bed.config.throttle.address_failures = 0;
    bed.config.auth.hash_queue = 64;
    let first = bed.config.servers[0].clone();
    bed.config.servers = listeners
        .iter()
        .enumerate()
        .map(|(number, listener)| config::Server {
            name: format!("server-{number}").parse().unwrap(),
            management: Endpoint::Tcp { host: "127.0.0.1".into(), port: listener.address().port() },
            ..first.clone()
        })
        .collect();
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_slow_floods_or_does_not_read_slows_no_other() {
    let mut listeners = Vec::new();
    for _ in 0..GOOD + 4 {
        listeners.push(Listener::tcp().await);
    }
    let bed = bed_of(&listeners).await;
    let daemon = bed.start();
    let mut servers = Vec::new();
    for listener in &listeners {
        servers.push(listener.accept().await);
    }
    // One says nothing at all, one a byte a second, one goes on and on with a line that never ends.
    let _silent = servers.pop().unwrap();
    let mut slow = servers.pop().unwrap();
    let slow = tokio::spawn(async move {
        for byte in ">INFO:OpenVPN Management Interface Version ".chars().cycle() {
            slow.try_say(&byte.to_string()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut endless = servers.pop().unwrap();
    let endless = tokio::spawn(async move { while endless.try_say(&"x".repeat(65_536)).await {} });
    for server in &mut servers {
        server.attach(RUN, &[]).await;
    }
    // One asks for thousands of logins and reads no answer.
    let mut flooding = servers.pop().unwrap();
    for cid in 0..FLOOD {
        flooding.connect(cid, "nobody", "wrong", Some(MAC)).await;
    }
    for (number, server) in servers.iter_mut().enumerate() {
        let asked = bed.clock.now().mono;
        server.connect(0, "alice", "correct horse", Some(MAC)).await;
        server.expect("client-auth 0 1").await;
        let took = bed.clock.now().mono - asked;
        assert!(took < Duration::from_secs(1), "server {number}: {took:?}");
    }
    // Nothing of it is lost: each of its clients gets one answer.
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < FLOOD as usize {
        let line = flooding.line().await;
        let cid: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(line.starts_with("client-deny ") && answered.insert(cid), "{line}");
    }
    endless.abort();
    slow.abort();
    daemon.stop().await;
}
