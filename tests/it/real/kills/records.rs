//! What the records say: the logs of OpenVPN's clients and server, and times.

use ovpn_warden::types::Clock;

/// Milliseconds since 1970, as in all records.
pub type Millis = i64;

pub fn now() -> Millis {
    Clock::new().now().utc.as_millis()
}

/// Lines of a log written with `--machine-readable-output`: seconds and microseconds, flags, text.
pub fn lines(log: &str) -> impl Iterator<Item = (Millis, &str)> {
    log.lines().filter_map(|line| {
        let (stamp, rest) = line.split_once(' ')?;
        let (seconds, micros) = stamp.split_once('.')?;
        let at = seconds.parse::<Millis>().ok()? * 1_000 + micros.parse::<Millis>().ok()? / 1_000;
        Some((at, rest.split_once(' ')?.1))
    })
}

/// A client's tunnel, from its completion to its end.
#[derive(Clone, Debug)]
pub struct Tunnel {
    pub since: Millis,
    /// When and how it ended, as the client says.
    pub end: Option<(Millis, String)>,
}

/// What a client's log says.
#[derive(Clone, Debug, Default)]
pub struct ClientRecord {
    pub tunnels: Vec<Tunnel>,
    /// Refusals that were not meant to be temporary.
    pub refusals: Vec<(Millis, String)>,
    pub temporary: usize,
}

impl ClientRecord {
    pub fn read(log: &str) -> Self {
        let mut record = Self::default();
        for (at, text) in lines(log) {
            let open = record.tunnels.last_mut().filter(|tunnel| tunnel.end.is_none());
            if text.starts_with("Initialization Sequence Completed") {
                record.tunnels.push(Tunnel { since: at, end: None });
            } else if text.contains("process restarting") || text.contains("process exiting") {
                if let Some(tunnel) = open {
                    tunnel.end = Some((at, text.to_owned()));
                }
            } else if let Some((_, told)) = text.split_once("control message: AUTH_FAILED") {
                if told.starts_with(",TEMP") {
                    record.temporary += 1;
                } else {
                    record.refusals.push((at, told.trim_start_matches(',').to_owned()));
                }
            }
        }
        record
    }

    pub fn up_since(&self) -> Option<Millis> {
        self.tunnels.last().filter(|tunnel| tunnel.end.is_none()).map(|tunnel| tunnel.since)
    }
}

/// What a server's log says of clients that it removed.
pub fn exits(log: &str) -> Vec<(Millis, String)> {
    lines(log)
        .filter(|(_, text)| text.ends_with("client-instance exiting"))
        .filter_map(|(at, text)| Some((at, text.split_once('/')?.0.to_owned())))
        .collect()
}
