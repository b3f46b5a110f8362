//! A fault of this program itself in one link, while others serve.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, DuplexStream, ReadBuf, duplex, split};

use super::*;
use crate::{
    config,
    daemon::Daemon,
    store::{Options, open},
    types::Password,
};

const RUN: i64 = 1_795_435_003;

/// What reads from it, panics.
struct Faulty;

impl AsyncRead for Faulty {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("a fault that was put here")
    }
}

/// OpenVPN's side of a connection.
struct Server(BufReader<DuplexStream>);

impl Server {
    /// Its two ends.
    fn pair() -> (Self, Connected) {
        let (own, theirs) = duplex(64 << 10);
        let (reader, writer) = split(theirs);
        (Self(BufReader::new(own)), Connected::new(Box::new(reader), Box::new(writer)))
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a line").unwrap();
        line.trim_end().to_owned()
    }

    async fn attach(&mut self) {
        self.say(">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\n")
            .await;
        while !self.line().await.starts_with("bytecount ") {}
        self.say(&format!(
            "OpenVPN Version: OpenVPN 2.6.14 fake\nManagement Version: 5\nEND\n\
             SUCCESS: env_filter_level=0\nSUCCESS: real-time state notification set to ON\n\
             {RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n\
             TITLE\tOpenVPN 2.6.14\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\t\
             Virtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\t\
             Username\tClient ID\tPeer ID\tData Channel Cipher\nEND\nSUCCESS: bytecount interval changed\n"
        ))
        .await;
    }

    /// A login of nobody is denied; whether for good, that is whether it was judged.
    async fn judges(&mut self, cid: u32) -> bool {
        self.say(&format!(
            ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,n_clients=0\n>CLIENT:ENV,password=wrong\n\
             >CLIENT:ENV,untrusted_port=40001\n>CLIENT:ENV,untrusted_ip=192.0.2.7\n\
             >CLIENT:ENV,common_name=nobody\n>CLIENT:ENV,username=nobody\n\
             >CLIENT:ENV,IV_HWADDR=02:1a:2b:3c:4d:5e\n>CLIENT:ENV,IV_PROTO=990\n\
             >CLIENT:ENV,IV_VER=2.6.14\n>CLIENT:ENV,END\n"
        ))
        .await;
        let mut line = self.line().await;
        while line == "state" {
            self.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
            line = self.line().await;
        }
        assert!(line.starts_with(&format!("client-deny {cid} 1 ")), "{line}");
        self.say("SUCCESS: client-deny command succeeded\n").await;
        !line.contains("TEMP")
    }
}

#[tokio::test]
async fn a_panic_in_one_link_disturbs_no_other_and_it_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let url = format!("sqlite://{}", folder.path().join("warden.db").display());
    let servers = [("faulty", 1), ("sound", 2)].map(|(name, port)| {
        format!("[[servers]]\nname = \"{name}\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n")
    });
    let text = format!(
        "[database]\nurl = \"{url}\"\n[auth]\nargon2_m_kib = 8\nargon2_t = 1\n\
         [throttle]\naddress_failures = 0\nuser_failures = 0\n[journal]\npath = \"\"\n\
         [http]\nlisten = \"\"\n{}{}",
        servers[0], servers[1]
    );
    std::fs::write(&file, text).unwrap();
    let config = config::load(&[file], [], &[]).unwrap().config;
    let store = open(&Options::new(Password::from(url.as_bytes()))).unwrap();
    store.migrate(false).await.unwrap();
    let stop = CancellationToken::new();
    let readiness = Arc::new(Readiness::default());
    let prepared =
        Daemon::prepare(&config, Arc::clone(&store), readiness, Clock::new(), stop.clone(), None);
    let mut daemon = prepared.await.unwrap();
    // Their connections come from here.
    let mut ends = Vec::new();
    for link in &mut daemon.links {
        let (sender, receiver) = mpsc::channel(1);
        link.arrivals = Some(receiver);
        ends.push(sender);
    }
    let task = tokio::spawn(daemon.run());
    let (mut sound, end) = Server::pair();
    ends[1].send(end).await.unwrap();
    sound.attach().await;
    let mut cid = 1_000;
    while !sound.judges(cid).await {
        cid += 1;
        assert!(cid < 1_100, "it never asks the database");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for turn in 1..4 {
        let (_, writer) = split(duplex(1 << 10).0);
        ends[0].send(Connected::new(Box::new(Faulty), Box::new(writer))).await.unwrap();
        // Before, during and after its pause.
        for step in 0..3 {
            assert!(sound.judges(turn * 10 + step).await);
            tokio::time::sleep(FAULT_PAUSE / 2).await;
        }
    }
    let (mut anew, end) = Server::pair();
    ends[0].send(end).await.unwrap();
    anew.attach().await;
    assert!(anew.judges(0).await);
    assert!(sound.judges(99).await);
    assert!(!task.is_finished(), "the daemon goes on");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
}
