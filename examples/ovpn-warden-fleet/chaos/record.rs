//! What the stand-ins themselves saw: who was in, from when until when, and why it ended.
//!
//! It only grows. Each line also goes to a file at once, so that a run can be read afterwards.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ovpn_warden::types::Timestamp;

/// Milliseconds since 1970.
pub type Millis = i64;

/// Why a client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// By itself.
    Left,
    /// The controller said `client-kill`.
    Killed,
    /// Its `session-timeout` was over.
    TimedOut,
    /// Nobody answered it, or its renegotiation, within the hand-window.
    Unanswered,
    /// It was denied.
    Denied,
    /// It was denied for a moment: nothing was wrong with it, and it is to come again.
    Postponed,
    /// Its server was killed.
    ServerDied,
}

impl End {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Killed => "killed",
            Self::TimedOut => "session_timeout",
            Self::Unanswered => "unanswered",
            Self::Denied => "denied",
            Self::Postponed => "postponed",
            Self::ServerDied => "server_died",
        }
    }
}

/// One client instance of one run of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub server: u32,
    /// When the server's run began, in seconds: its name in the database.
    pub run: i64,
    pub cid: u32,
    /// Which user.
    pub number: usize,
    pub asked: Millis,
    /// When the approval was read.
    pub admitted: Option<Millis>,
    /// When the first `client-kill` was read.
    pub killed: Option<Millis>,
    pub ended: Option<(Millis, End)>,
}

/// A connection of a controller, from the end of its set-up on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub server: u32,
    pub from: Millis,
    pub until: Option<Millis>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Pages {
    pub instances: Vec<Instance>,
    pub links: Vec<Link>,
    file: Option<File>,
}

/// The record that all servers write.
#[derive(Debug, Default)]
pub struct Record(Mutex<Pages>);

/// Octets from and to a client after so long: they flow evenly, so that the auditor knows what
/// they were at any moment.
pub fn flow(up_for: Millis) -> (u64, u64) {
    let time = u64::try_from(up_for).unwrap_or(0);
    (2_000 + time, 2_000 + 10 * time)
}

impl Record {
    pub fn in_file(path: &Path) -> std::io::Result<Self> {
        let file = Some(File::create_new(path)?);
        Ok(Self(Mutex::new(Pages { file, ..Pages::default() })))
    }

    /// A client has asked to be let in; the number of its entry.
    pub fn asked(&self, server: u32, run: i64, cid: u32, number: usize, at: Timestamp) -> usize {
        let mut pages = self.open();
        let asked = at.as_millis();
        let (admitted, killed, ended) = (None, None, None);
        pages.instances.push(Instance { server, run, cid, number, asked, admitted, killed, ended });
        let entry = pages.instances.len() - 1;
        pages.write(entry, "asked", at, "");
        entry
    }

    pub fn admitted(&self, entry: usize, at: Timestamp) {
        let mut pages = self.open();
        pages.instances[entry].admitted.get_or_insert(at.as_millis());
        pages.write(entry, "admitted", at, "");
    }

    pub fn killed(&self, entry: usize, at: Timestamp) {
        let mut pages = self.open();
        pages.instances[entry].killed.get_or_insert(at.as_millis());
        pages.write(entry, "kill", at, "");
    }

    pub fn ended(&self, entry: usize, why: End, at: Timestamp) {
        let mut pages = self.open();
        let ended = &mut pages.instances[entry].ended;
        debug_assert!(ended.is_none());
        ended.get_or_insert((at.as_millis(), why));
        pages.write(entry, "ended", at, why.word());
    }

    pub fn attached(&self, server: u32, at: Timestamp) {
        let from = at.as_millis();
        self.open().links.push(Link { server, from, until: None });
    }

    pub fn detached(&self, server: u32, at: Timestamp) {
        let mut pages = self.open();
        let link = pages.links.iter_mut().rfind(|link| link.server == server);
        if let Some(link) = link {
            link.until.get_or_insert(at.as_millis());
        }
    }

    /// How many are in, and how many have been.
    pub fn count(&self) -> (usize, usize) {
        let pages = self.open();
        let admitted = || pages.instances.iter().filter(|instance| instance.admitted.is_some());
        (admitted().filter(|instance| instance.ended.is_none()).count(), admitted().count())
    }

    /// What was seen, for the auditor.
    pub fn read(&self) -> (Vec<Instance>, Vec<Link>) {
        let pages = self.open();
        (pages.instances.clone(), pages.links.clone())
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn write(&mut self, entry: usize, what: &str, at: Timestamp, why: &str) {
        let Some(file) = &mut self.file else { return };
        let Instance { server, run, cid, number, .. } = &self.instances[entry];
        let mut line = format!("{at} s{server} run {run} cid {cid} user{number:06} {what}");
        if !why.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(line, " {why}");
        }
        line.push('\n');
        // What cannot be written there is still in memory, which is what counts.
        let _ = file.write_all(line.as_bytes());
    }
}
