//! Many servers on one daemon: what one of them does slows none of the others.

use tokio::io::AsyncWriteExt as _;

use super::{metrics::beside_with, *};

/// Servers that behave.
const GOOD: usize = 24;
/// Logins that the flooding server asks for before it reads a word.
const FLOOD: u32 = 2_000;

/// Lines and bytes of no meaning, always others, the last one with an end.
fn garbage(turn: u64) -> Vec<u8> {
    let mut state = turn;
    let mut bytes = b"\n>\n>H\nS\n>CLIENT:CONNECT,k,2\n>CLIENT:ENV,a=b\n>CLIENT:ENV,END\n".to_vec();
    bytes.extend((0..4_096).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }));
    bytes.push(b'\n');
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_slow_floods_talks_rubbish_or_does_not_read_slows_no_other() {
    let mut listeners = Vec::new();
    for _ in 0..GOOD + 5 {
        listeners.push(Listener::tcp().await);
    }
    let bed = Bed::new(&listeners[0]).await;
    // All logins come from one address here.
    let mut more = "hash_queue = 64\n[throttle]\naddress_failures = 0\n".to_owned();
    for (number, listener) in listeners.iter().enumerate().skip(1) {
        let address = listener.address();
        more +=
            &format!("[[servers]]\nname = \"server-{number}\"\nmanagement = \"tcp://{address}\"\n");
    }
    let (_daemon, first, _) = beside_with(&bed, &listeners[0], &more).await;
    let mut servers = vec![first];
    for listener in &listeners[1..] {
        servers.push(listener.accept().await);
    }
    // One says nothing at all, one a byte a second, one goes on and on with a line that never ends, one talks rubbish.
    let mut silent = servers.pop().unwrap();
    let silent_one = format!("server-{}", GOOD + 4);
    let mut slow = servers.pop().unwrap();
    let slow = tokio::spawn(async move {
        for byte in ">INFO:OpenVPN Management Interface Version ".chars().cycle() {
            slow.try_say(&byte.to_string()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut endless = servers.pop().unwrap();
    let endless = tokio::spawn(async move { while endless.try_say(&"x".repeat(65_536)).await {} });
    for server in &mut servers[1..] {
        server.attach(RUN, &[]).await;
    }
    let (mut reader, mut writer) = servers.pop().unwrap().into_parts();
    let rubbish_one = format!("server-{}", GOOD + 1);
    let rubbish = tokio::spawn(async move {
        let mut unread = tokio::io::sink();
        let read = tokio::io::copy(&mut reader, &mut unread);
        let write = async {
            for turn in 0.. {
                if writer.write_all(&garbage(turn)).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::join!(read, write);
    });
    // One asks for thousands of logins and reads no answer.
    let mut flooding = servers.pop().unwrap();
    for cid in 0..FLOOD {
        flooding.connect(cid, "nobody", "wrong", Some(MAC)).await;
    }
    for (number, server) in servers.iter_mut().enumerate() {
        let asked = bed.clock.now().mono;
        server.connect(1, "alice", "correct horse", Some(MAC)).await;
        assert_eq!(server.command().await, "client-auth 1 1");
        let took = bed.clock.now().mono - asked;
        assert!(took < Duration::from_secs(1), "server {number}: {took:?}");
    }
    // Nothing of it is lost: each of its clients gets one answer.
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < FLOOD as usize {
        let line = flooding.command().await;
        let cid: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(line.starts_with("client-deny ") && answered.insert(cid), "{line}");
    }
    // The operator hears of who says nothing and of who talks rubbish.
    let of = |event: &str, server: &str| -> Vec<String> {
        let lines = bed.told(event).into_iter().filter(|line| line["server"] == server);
        lines.map(|line| line.to_string()).collect()
    };
    for _ in 0..100 {
        if !of("link.waiting", &silent_one).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let waiting = of("link.waiting", &silent_one);
    assert!(waiting.len() == 1 && waiting[0].contains("says nothing"), "{waiting:?}");
    assert!(of("link.lost", &silent_one).is_empty());
    assert!(!of("protocol.rejected", &rubbish_one).is_empty());
    for number in 0..GOOD {
        let server = if number == 0 { "udp".to_owned() } else { format!("server-{number}") };
        assert_eq!(of("link.lost", &server), [] as [String; 0]);
    }
    // When it speaks after all, it is served.
    silent.attach(RUN, &[]).await;
    silent.connect(0, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(silent.command().await, "client-auth 0 1");
    endless.abort();
    slow.abort();
    rubbish.abort();
}
