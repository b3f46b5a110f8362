//! A TCP proxy before a database server, to count, delay, stall and cut what passes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicIsize, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Open,
    /// They pass, but what the server says comes so much later.
    Slow(Duration),
    /// They wait; connections stay.
    Stalled,
    /// Connections are cut, new ones as well.
    Cut,
}

pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// At zero a connection is cut.
    left: AtomicIsize,
    sent: Mutex<Vec<u8>>,
}

impl Proxy {
    /// Listens on a free port and passes on to `target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, watched) = watch::channel(Mode::Open);
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() == Mode::Cut {
                    continue;
                }
                counting.connections.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                let counting = Some(Arc::clone(&counting));
                let cut = CancellationToken::new();
                let there = pass(client_in, server_out, watched.clone(), counting, cut.clone());
                tokio::spawn(there);
                tokio::spawn(pass(server_in, client_out, watched.clone(), None, cut));
            }
        });
        Self { port, mode, counts }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The server still gets the `number`th request from now on, and its client hears nothing more.
    pub fn cut_at(&self, number: isize) {
        self.counts.left.store(number, Ordering::SeqCst);
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many times the client sent something.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// All that the clients sent.
    pub fn sent(&self) -> Vec<u8> {
        self.counts.sent.lock().unwrap().clone()
    }
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    counts: Option<Arc<Counts>>,
    cut: CancellationToken,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => return,
            () = cut.cancelled() => return,
        };
        let Ok(length @ 1..) = read else { return };
        if let Some(counts) = &counts {
            counts.requests.fetch_add(1, Ordering::SeqCst);
            counts.sent.lock().unwrap().extend_from_slice(&buffer[..length]);
            if counts.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                cut.cancel();
            }
        }
        let now = mode.wait_for(|mode| *mode != Mode::Stalled).await.map(|mode| *mode);
        match now {
            Ok(Mode::Slow(delay)) if counts.is_none() => tokio::time::sleep(delay).await,
            Ok(Mode::Open | Mode::Slow(_)) => {}
            Ok(Mode::Stalled | Mode::Cut) | Err(_) => return,
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
