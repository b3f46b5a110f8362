//! Other tools at the daemon's socket, while it works.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::*;

/// A tool: writes lines, reads lines.
struct Tool(BufReader<UnixStream>);

impl Tool {
    async fn new(path: &std::path::Path) -> Self {
        for _ in 0..200 {
            if let Ok(stream) = UnixStream::connect(path).await {
                return Self(BufReader::new(stream));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no socket");
    }

    async fn greeted(path: &std::path::Path) -> Self {
        let mut tool = Self::new(path).await;
        let greeting = tool.line().await;
        assert!(greeting.starts_with(">INFO:OpenVPN Management Interface Version 5"), "{greeting}");
        tool
    }

    async fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a line").unwrap();
        line.trim_end().to_owned()
    }

    async fn expect(&mut self, wanted: &str) {
        assert_eq!(self.line().await, wanted);
    }
}

/// A daemon with a relay, attached, and the relay's path.
async fn relaying() -> (Listener, Bed, Daemon, Controller, PathBuf) {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let path = bed._folder.path().join("relay.sock");
    bed.config.servers[0].relay = Some(Endpoint::Unix(path.clone()));
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    for _ in 0..3 {
        controller.line().await;
    }
    controller.establish(0).await;
    bed.session(|s| s.state == SessionState::Active).await;
    (listener, bed, daemon, controller, path)
}

#[tokio::test]
async fn two_tools_ask_at_once_and_each_gets_its_own_reply() {
    let (_listener, _bed, daemon, mut controller, path) = relaying().await;
    let (mut first, mut second) = (Tool::greeted(&path).await, Tool::greeted(&path).await);
    first.say("status 2").await;
    controller.expect("status 2").await;
    assert!(controller.line().await.starts_with("bytecount "));
    second.say("pid").await;
    controller.expect("pid").await;
    controller
        .say(
            "TITLE,OpenVPN\nCLIENT_LIST,alice,>x\nEND\nSUCCESS: bytecount interval changed\n\
             SUCCESS: pid=4711\n",
        )
        .await;
    for line in ["TITLE,OpenVPN", "CLIENT_LIST,alice,>x", "END"] {
        first.expect(line).await;
    }
    second.expect("SUCCESS: pid=4711").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_tool_that_asks_without_end_has_one_question_under_way() {
    let (_listener, bed, daemon, mut controller, path) = relaying().await;
    let mut tool = Tool::greeted(&path).await;
    tool.say(&"pid\n".repeat(5_000)).await;
    controller.expect("pid").await;
    controller.connect(1, "alice", "correct horse", Some(MAC)).await;
    // Nothing of the tool's stands before the answer to the login.
    while !controller.line().await.starts_with("client-auth 1 1") {}
    controller.say("SUCCESS: pid=7\n").await;
    while tool.line().await != "SUCCESS: pid=7" {}
    drop(bed);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tool_sees_what_happens_but_no_password_and_decides_nothing() {
    let (_listener, bed, daemon, mut controller, path) = relaying().await;
    let mut tool = Tool::greeted(&path).await;
    for line in ["client-kill 0", "signal SIGTERM", "hold release", "client-deny 0 1 x"] {
        tool.say(line).await;
        let answer = tool.line().await;
        assert!(answer.starts_with("ERROR: ") && answer.contains("not available"), "{answer}");
    }
    tool.say("client-auth 1 1\nclient-kill 0\nEND").await;
    assert!(tool.line().await.starts_with("ERROR: 'client-auth'"));
    controller.connect(1, "alice", "hunter2", Some(MAC)).await;
    let mut block = Vec::new();
    while block.last().map(String::as_str) != Some(">CLIENT:ENV,END") {
        block.push(tool.line().await);
    }
    assert!(block.contains(&">CLIENT:ENV,username=alice".to_owned()), "{block:?}");
    assert!(block.contains(&">CLIENT:ENV,password=***".to_owned()), "{block:?}");
    // All that the server has heard is the daemon's own answer.
    expect_denial(&mut controller, "bad_credentials", "").await;
    assert_eq!(bed.sessions().await[0].state, SessionState::Active);
    daemon.stop().await;
}

#[tokio::test]
async fn streams_are_each_tools_own() {
    let (_listener, _bed, daemon, mut controller, path) = relaying().await;
    let (mut quiet, mut curious) = (Tool::greeted(&path).await, Tool::greeted(&path).await);
    curious.say("bytecount 5").await;
    curious.expect("SUCCESS: bytecount interval changed").await;
    curious.say("log on all").await;
    curious.expect("SUCCESS: real-time log notification set to ON").await;
    // The list is asked for first, then the server's own switch.
    controller.expect("log all").await;
    assert!(controller.line().await.starts_with("bytecount "));
    controller.expect("log on").await;
    controller
        .say(
            "1795435003,I,old news\nEND\nSUCCESS: bytecount interval changed\n\
             SUCCESS: real-time log notification set to ON\n",
        )
        .await;
    controller.say(">BYTECOUNT_CLI:0,1,2\n>LOG:1795435004,I,news\n>FATAL:over\n").await;
    for line in [
        "1795435003,I,old news",
        "END",
        ">BYTECOUNT_CLI:0,1,2",
        ">LOG:1795435004,I,news",
        ">FATAL:over",
    ] {
        curious.expect(line).await;
    }
    quiet.expect(">FATAL:over").await;
    drop(curious);
    // The last reader is gone.
    while controller.line().await != "log off" {}
    daemon.stop().await;
}

#[tokio::test]
async fn tools_leave_with_the_server_and_a_leftover_socket_is_replaced() {
    let (listener, bed, daemon, controller, path) = relaying().await;
    let mut tool = Tool::greeted(&path).await;
    drop(controller);
    tool.expect("").await;
    drop(listener);
    daemon.stop().await;
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as after a crash");
    let listener = Listener::tcp().await;
    let mut bed = bed;
    bed.config.servers[0].management =
        Endpoint::Tcp { host: "127.0.0.1".into(), port: listener.address().port() };
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.say(">FATAL:seen\n").await;
    let mut tool = Tool::greeted(&path).await;
    tool.say("exit").await;
    tool.expect("").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_capture_holds_what_was_said_without_passwords_and_decodes() {
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let folder = bed._folder.path().join("captures");
    std::fs::create_dir(&folder).unwrap();
    bed.record = Some(folder.clone());
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "hunter2", Some(MAC)).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    daemon.stop().await;
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let capture = std::fs::read_to_string(&file).unwrap();
    assert!(capture.contains("password=***") && !capture.contains("hunter2"), "{capture}");
    let decoded = std::process::Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .arg("decode")
        .arg(&file)
        .output()
        .unwrap();
    let events = String::from_utf8(decoded.stdout).unwrap();
    for event in ["info", "version", "status", "connect", "success"] {
        assert!(events.contains(&format!("{{\"event\":\"{event}\"")), "{event}: {events}");
    }
}
