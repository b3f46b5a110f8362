//! What a Prometheus server reads from the program itself.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use ovpn_warden::proto::RejectKind;

use super::{Bed, Controller, Listener, MAC, RUN, expect_denial};
use crate::watching::{Query, queries};

pub async fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// A port that nobody listens on.
pub async fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    free.local_addr().unwrap().port()
}

/// A daemon of its own process with its metrics, and alice on the server as client 0.
pub async fn beside(listener: &Listener) -> (Bed, Child, Controller, u16) {
    let bed = Bed::new(listener).await;
    let (daemon, controller, http) = beside_with(&bed, listener, "").await;
    (bed, daemon, controller, http)
}

/// The daemon by the configuration that stands in the bed's folder, with a new log.
pub fn run(bed: &Bed) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .env_clear()
        .arg("-c")
        .arg(bed.folder().join("config.toml"))
        .arg("run")
        .stdout(std::fs::File::create(bed.folder().join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The same on a bed that is there, with more configuration, from `[auth]` on. Its log is in `log` there.
pub async fn beside_with(bed: &Bed, listener: &Listener, more: &str) -> (Child, Controller, u16) {
    let http = free_port().await;
    let config = format!(
        "[database]\nurl = \"{}\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
         [auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n{more}",
        bed.url(),
        listener.address(),
    );
    let file = bed.folder().join("config.toml");
    std::fs::write(file, config).unwrap();
    let daemon = run(bed);
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    assert_eq!(controller.command().await, "client-auth 0 1");
    for _ in 0..2 {
        controller.line().await;
    }
    controller.establish(0).await;
    (daemon, controller, http)
}

#[tokio::test]
async fn the_metrics_tell_what_waits_and_how_long_the_database_takes() {
    let listener = Listener::tcp().await;
    let (_bed, _daemon, _controller, http) = beside(&listener).await;
    let wanted = [
        "ovpn_warden_hash_queue 0",
        "ovpn_warden_store_backlog 0",
        "ovpn_warden_store_seconds_count{op=\"facts\"} 1",
        "ovpn_warden_store_seconds_count{op=\"open_sessions\"} 1",
        "ovpn_warden_store_seconds_bucket{op=\"persist\",le=\"+Inf\"}",
    ];
    let mut text = String::new();
    for _ in 0..50 {
        text = scrape(http).await;
        if wanted.iter().all(|line| text.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all of {wanted:?} in:\n{text}");
}

/// The samples of a metric on a page, a histogram's with its parts.
fn samples<'a>(page: &'a str, metric: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or("");
        name == metric
    };
    page.lines().filter(is_of).collect()
}

#[tokio::test]
async fn whatever_dashboard_and_alerts_ask_for_is_on_the_page_of_a_daemon_at_work() {
    let listener = Listener::tcp().await;
    let (_bed, _daemon, mut controller, http) = beside(&listener).await;
    controller.say(">CLIENT:ODD,1\n").await;
    controller.connect(1, "alice", "wrong", Some(MAC)).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    controller.disconnect(0).await;
    let asked = queries();
    assert!(asked.len() > 25, "{asked:?}");
    let mut missing = Vec::new();
    for _ in 0..100 {
        let page = scrape(http).await;
        let has = |query: &&Query| {
            let samples = samples(&page, &query.metric);
            let has_label =
                |label: &String| samples.iter().any(|line| line.contains(&format!("{label}=\"")));
            !samples.is_empty() && query.labels.iter().all(has_label)
        };
        missing = asked.iter().filter(|query| !has(query)).collect();
        if missing.is_empty() {
            // An alert hears the first of each kind only when its series was there before.
            for kind in RejectKind::ALL {
                let kind = format!("kind=\"{kind}\"");
                let rejected = samples(&page, "ovpn_warden_protocol_rejected_total");
                assert!(rejected.iter().any(|line| line.contains(&kind)), "{kind} in:\n{page}");
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{missing:?} not in:\n{}", scrape(http).await);
}
