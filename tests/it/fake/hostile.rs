//! Peer info that is stuffed, while somebody is in.

use super::*;

/// Variables of one login: many times as many as are kept of a block.
const STUFFED: u32 = 5_000;

#[tokio::test]
async fn thousands_of_variables_are_refused_and_who_is_in_keeps_his_answers() {
    let (_listener, bed, daemon, mut controller) = attached().await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(controller.command().await, "client-auth 0 1");
    while controller.command().await != "END" {}
    controller.establish(0).await;
    for cid in 1..=20 {
        let mut block = format!(
            ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,n_clients=0\n>CLIENT:ENV,username=alice\n\
             >CLIENT:ENV,password=correct horse\n>CLIENT:ENV,UV_CLIENT_MAC={MAC}\n"
        );
        for number in 0..STUFFED {
            block.push_str(&format!(">CLIENT:ENV,UV_STUFF_{number}={}\n", "x".repeat(100)));
        }
        controller.say(&(block + ">CLIENT:ENV,END\n")).await;
        let line = controller.command().await;
        assert!(line.starts_with(&format!("client-deny {cid} 1 \"protocol\"")), "{line}");
        controller.say("SUCCESS: client-deny command succeeded\n").await;
        controller.ask("REAUTH", 0, cid + 1, "alice", "correct horse", Some(MAC)).await;
        assert_eq!(controller.command().await, format!("client-auth-nt 0 {}", cid + 1));
        controller.say("SUCCESS: client-auth command succeeded\n").await;
    }
    controller.connect(30, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(controller.command().await, "client-auth 30 1");
    bed.any_session(|s| s.cid.0 == 0 && s.state == SessionState::Active).await;
    daemon.stop().await;
}
