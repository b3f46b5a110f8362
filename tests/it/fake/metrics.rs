//! What a Prometheus server reads from the program itself.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use super::{Bed, Controller, Listener, MAC, RUN};

async fn scrape(port: u16) -> String {
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

/// The same on a bed that is there, with more configuration, from `[auth]` on. Its log is in `log` there.
pub async fn beside_with(bed: &Bed, listener: &Listener, more: &str) -> (Child, Controller, u16) {
    let http = free_port().await;
    let config = format!(
        "[database]\nurl = \"sqlite://{}\"\n[[servers]]\nname = \"udp\"\n\
         management = \"tcp://{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
         [auth]\nargon2_m_kib = 8\nargon2_t = 1\nwake_up = false\n{more}",
        bed.database().display(),
        listener.address(),
    );
    let file = bed.folder().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let daemon = Command::new(env!("CARGO_BIN_EXE_ovpn-warden"))
        .env_clear()
        .arg("-c")
        .arg(file)
        .arg("run")
        .stdout(std::fs::File::create(bed.folder().join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    controller.expect("client-auth 0 1").await;
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
