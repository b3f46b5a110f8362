//! The webhook against a real HTTP receiver, in the clear and over TLS of a private authority.

use std::sync::Mutex;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::*;

const SECRET: &[u8] = b"hook secret";

/// What came, and what is answered.
#[derive(Clone, Default)]
pub struct Receiver {
    pub notices: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    pub refusals: Arc<Mutex<u32>>,
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut refusals = receiver.refusals.lock().unwrap();
    if *refusals > 0 {
        *refusals -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    receiver.notices.lock().unwrap().push((headers, body));
    StatusCode::NO_CONTENT
}

impl Receiver {
    /// Listens; its URL.
    pub async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?of=warden", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// Its notices, once there are so many; each has a sound signature.
    async fn notices(&self, count: usize, clock: Clock) -> Vec<Value> {
        for _ in 0..200 {
            if self.notices.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let notices = self.notices.lock().unwrap();
        notices
            .iter()
            .map(|(headers, body)| {
                let signature = headers["x-ovpn-warden-signature"].to_str().unwrap();
                let (time, code) = signature.split_once(',').unwrap();
                let seconds = time.strip_prefix("t=").unwrap();
                let age = clock.now().utc.as_secs() - seconds.parse::<i64>().unwrap();
                assert!((0..20).contains(&age), "{signature}");
                let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
                mac.update(format!("{seconds}.").as_bytes());
                mac.update(body);
                let wanted = mac.finalize().into_bytes();
                let wanted: String = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(code, format!("v1={wanted}"));
                serde_json::from_slice(body).unwrap()
            })
            .collect()
    }
}

fn hook(url: String) -> config::Webhook {
    config::Webhook {
        url: Password::new(url.into_bytes()),
        secret: Password::from(SECRET),
        ca_file: None,
        events: config::WEBHOOK_EVENTS.to_vec(),
        timeout: Duration::from_secs(2),
        queue: 100,
    }
}

#[tokio::test]
async fn a_sessions_life_and_a_denial_are_told_signed_and_without_passwords() {
    let receiver = Receiver::default();
    *receiver.refusals.lock().unwrap() = 1;
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.webhook = Some(hook(receiver.start().await));
    bed.config.session.accounting_interval = Duration::from_secs(30);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "canary-wrong", Some(MAC)).await;
    expect_denial(&mut controller, "bad_credentials", "").await;
    controller.connect(1, "alice", "correct horse", Some(MAC)).await;
    while controller.line().await != "END" {}
    controller.establish(1).await;
    controller.disconnect(1).await;
    let notices = receiver.notices(3, bed.clock).await;
    let events: Vec<_> = notices.iter().map(|n| n["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["auth.denied", "session.opened", "session.closed"]);
    assert_eq!(notices[0]["reason"], "bad_credentials");
    let session = bed.session(|s| s.state == SessionState::Closed).await;
    for notice in &notices[1..] {
        assert_eq!(notice["session_id"], session.id.to_string());
        assert_eq!((&notice["user"], &notice["server"]), (&"alice".into(), &"udp".into()));
    }
    assert_eq!(notices[2]["bytes_received"], 4_000);
    let all = format!("{notices:?}");
    assert!(!all.contains("canary") && !all.contains("correct horse"), "{all}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_end_of_a_session_is_told_before_it_comes() {
    let receiver = Receiver::default();
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    bed.config.webhook = Some(hook(receiver.start().await));
    bed.config.session.limit = Some(Duration::from_secs(200));
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    controller.connect(0, "alice", "correct horse", Some(MAC)).await;
    while controller.line().await != "END" {}
    controller.establish(0).await;
    let notices = receiver.notices(2, bed.clock).await;
    assert_eq!(notices[1]["event"], "session.ending");
    assert!((195..=200).contains(&notices[1]["left_s"].as_u64().unwrap()), "{notices:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_slows_neither_logins_nor_the_end() {
    // It accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener::tcp().await;
    let mut bed = Bed::new(&listener).await;
    let mut hook = hook(format!("http://{}/", silent.local_addr().unwrap()));
    hook.timeout = Duration::from_secs(60);
    hook.queue = 2;
    bed.config.webhook = Some(hook);
    let daemon = bed.start();
    let mut controller = listener.accept().await;
    controller.attach(RUN, &[]).await;
    let started = bed.clock.now().mono;
    for cid in 0..20 {
        controller.connect(cid, "alice", "correct horse", Some("02:00:00:00:00:99")).await;
        expect_denial(&mut controller, "device_unknown", "").await;
    }
    assert!(bed.clock.now().mono - started < Duration::from_secs(3));
    let stopping = bed.clock.now().mono;
    daemon.stop().await;
    assert!(bed.clock.now().mono - stopping < Duration::from_secs(5));
}

/// A certificate for 127.0.0.1, and its authority's file.
fn tls(folder: &std::path::Path) -> (tokio_rustls::TlsAcceptor, PathBuf) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/pki.sh");
    assert!(std::process::Command::new(script).arg(folder).status().unwrap().success());
    let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(config).into(), folder.join("ca.crt"))
}

#[tokio::test]
async fn over_tls_only_a_receiver_of_a_known_authority_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = TempDir::new().unwrap();
    let (acceptor, ca) = tls(folder.path());
    for ca_file in [Some(ca), None] {
        let is_known = ca_file.is_some();
        let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = Listener::tcp().await;
        let mut bed = Bed::new(&listener).await;
        let url = format!("https://{}/", receiver.local_addr().unwrap());
        bed.config.webhook = Some(config::Webhook { ca_file, ..hook(url) });
        let daemon = bed.start();
        let mut controller = listener.accept().await;
        controller.attach(RUN, &[]).await;
        controller.connect(0, "alice", "wrong", Some(MAC)).await;
        expect_denial(&mut controller, "bad_credentials", "").await;
        let (stream, _) = receiver.accept().await.unwrap();
        let accepted = acceptor.accept(stream).await;
        if is_known {
            let mut stream = accepted.unwrap();
            let mut request = vec![0; 4_096];
            let mut length = 0;
            while !request[..length].ends_with(b"}") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("\"event\":\"auth.denied\""), "{request}");
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        } else {
            // TLS 1.3: the server may be done before the client says no; then nothing is read.
            let read = match accepted {
                Ok(mut stream) => stream.read(&mut [0; 1]).await.unwrap_or(0),
                Err(_) => 0,
            };
            assert_eq!(read, 0, "nothing is told");
        }
        daemon.stop().await;
    }
}
