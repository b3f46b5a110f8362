//! OpenVPN's side of a management connection, scripted by a test.

use std::{net::SocketAddr, path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, UnixListener},
    time::timeout,
};

use super::MAC;

const PATIENCE: Duration = Duration::from_secs(10);
pub const RUN: i64 = 1_795_435_003;

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub async fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn unix(path: &Path) -> Self {
        Self::Unix(UnixListener::bind(path).unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(listener) => listener.local_addr().unwrap(),
            Self::Unix(_) => panic!("a unix socket has no port"),
        }
    }

    /// The next controller that connects.
    pub async fn accept(&self) -> Controller {
        timeout(PATIENCE, self.accept_now()).await.expect("a controller connects")
    }

    async fn accept_now(&self) -> Controller {
        match self {
            Self::Tcp(listener) => {
                let (read, write) = listener.accept().await.unwrap().0.into_split();
                Controller::new(read, write)
            }
            Self::Unix(listener) => {
                let (read, write) = listener.accept().await.unwrap().0.into_split();
                Controller::new(read, write)
            }
        }
    }

    /// Whether a controller connects within `wait`.
    pub async fn is_visited_within(&self, wait: Duration) -> bool {
        timeout(wait, self.accept_now()).await.is_ok()
    }
}

/// What is read from a controller, and what is said to it.
pub type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connected controller, seen from OpenVPN.
pub struct Controller {
    reader: Reader,
    writer: Writer,
}

impl Controller {
    pub fn new(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: BufReader::new(Box::new(read)), writer: Box::new(write) }
    }

    /// Both sides apart, for who reads and writes at the same time.
    pub fn into_parts(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    pub async fn say(&mut self, text: &str) {
        let text = text.replace('\n', "\r\n");
        self.writer.write_all(text.as_bytes()).await.unwrap();
    }

    /// Says it, unless the controller has closed the connection.
    pub async fn try_say(&mut self, text: &str) -> bool {
        self.writer.write_all(text.as_bytes()).await.is_ok()
    }

    /// The controller's next line.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.reader.read_line(&mut line)).await.expect("a line").unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// The next line, or `None` when the controller has gone or says nothing for long.
    pub async fn try_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.reader.read_line(&mut line)).await.ok()?.ok()?;
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// The next line but for the questions by which it looks whether the server is there.
    pub async fn command(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line != "state" {
                return line;
            }
            self.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
        }
    }

    /// The next line, or `None` when it says nothing for `wait`.
    pub async fn line_within(&mut self, wait: Duration) -> Option<String> {
        let mut line = String::new();
        let read = timeout(wait, self.reader.read_line(&mut line)).await.ok()?.unwrap();
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Whether the controller closes the connection.
    pub async fn is_closed(&mut self) -> bool {
        let mut line = String::new();
        matches!(timeout(PATIENCE, self.reader.read_line(&mut line)).await, Ok(Ok(0)))
    }

    pub async fn expect(&mut self, wanted: &str) {
        assert_eq!(self.line().await, wanted);
    }

    /// Greets and answers the set-up commands; `clients` are rows of `status 3`.
    pub async fn attach(&mut self, run: i64, clients: &[String]) {
        self.say(">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\n")
            .await;
        self.set_up(run, clients).await;
    }

    pub async fn set_up(&mut self, run: i64, clients: &[String]) {
        for wanted in ["version", "env-filter 0", "state on", "state", "status 3"] {
            self.expect(wanted).await;
        }
        assert!(self.line().await.starts_with("bytecount "));
        self.say(&format!(
            "OpenVPN Version: OpenVPN 2.6.14 fake\nManagement Version: 5\nEND\n\
             SUCCESS: env_filter_level=0\nSUCCESS: real-time state notification set to ON\n\
             {run},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n{}\
             SUCCESS: bytecount interval changed\n",
            status(clients)
        ))
        .await;
    }

    pub async fn connect(&mut self, cid: u32, user: &str, password: &str, mac: Option<&str>) {
        self.ask("CONNECT", cid, 1, user, password, mac).await;
    }

    /// The answer to a login of alice from an address that only this client has; takes it as a denial.
    pub async fn denial_elsewhere(&mut self, cid: u32, password: &str) -> String {
        self.say(&format!(
            ">CLIENT:CONNECT,{cid},1\n>CLIENT:ENV,password={password}\n\
             >CLIENT:ENV,username=alice\n>CLIENT:ENV,UV_CLIENT_MAC={MAC}\n\
             >CLIENT:ENV,untrusted_ip=198.51.100.{cid}\n>CLIENT:ENV,END\n"
        ))
        .await;
        let line = self.line().await;
        self.say("SUCCESS: client-deny command succeeded\n").await;
        line
    }

    pub async fn ask(
        &mut self,
        event: &str,
        cid: u32,
        kid: u32,
        user: &str,
        password: &str,
        mac: Option<&str>,
    ) {
        let mac = mac.map(|mac| format!(">CLIENT:ENV,UV_CLIENT_MAC={mac}\n")).unwrap_or_default();
        self.say(&format!(
            ">CLIENT:{event},{cid},{kid}\n>CLIENT:ENV,n_clients=0\n>CLIENT:ENV,password={password}\n\
             >CLIENT:ENV,untrusted_port=40001\n>CLIENT:ENV,untrusted_ip=192.0.2.7\n\
             >CLIENT:ENV,common_name={user}\n>CLIENT:ENV,username={user}\n{mac}\
             >CLIENT:ENV,IV_PROTO=990\n>CLIENT:ENV,IV_VER=2.6.14\n>CLIENT:ENV,END\n"
        ))
        .await;
    }

    pub async fn establish(&mut self, cid: u32) {
        self.say(&format!(
            "SUCCESS: client-auth command succeeded\n>CLIENT:ADDRESS,{cid},10.8.0.6,1\n\
             >CLIENT:ESTABLISHED,{cid}\n>CLIENT:ENV,ifconfig_pool_remote_ip=10.8.0.6\n>CLIENT:ENV,END\n"
        ))
        .await;
    }

    pub async fn disconnect(&mut self, cid: u32) {
        self.say(&format!(
            ">CLIENT:DISCONNECT,{cid}\n>CLIENT:ENV,bytes_received=4000\n>CLIENT:ENV,bytes_sent=5000\n\
             >CLIENT:ENV,END\n"
        ))
        .await;
    }
}

pub fn status(clients: &[String]) -> String {
    let mut text = "TITLE\tOpenVPN 2.6.14\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\t\
        Virtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\t\
        Username\tClient ID\tPeer ID\tData Channel Cipher\n"
        .to_owned();
    for client in clients {
        text.push_str(client);
        text.push('\n');
    }
    text + "END\n"
}

pub fn client_row(cid: u32, user: &str, address: &str) -> String {
    format!(
        "CLIENT_LIST\t{user}\t192.0.2.7:40001\t{address}\t\t100\t200\t2026-11-23 12:00:00\t{RUN}\t{user}\t{cid}\t0\tAES-256-GCM"
    )
}
