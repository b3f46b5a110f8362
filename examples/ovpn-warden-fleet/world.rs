//! What the coordinator and the servers tell each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ovpn_warden::types::{Clock, Mono, Timestamp};

use crate::{
    chaos::record::{End, Record},
    script::Script,
};

/// What the coordinator tells a server.
pub enum Order {
    /// Does these from now on, each after its time.
    Begin(Vec<(Duration, Act)>),
    /// Closes the management connection; the client of this place leaves, of which nobody hears, and comes again once somebody
    /// listens.
    Drop(u32),
    /// Reads nothing until [`Order::Read`].
    Deafen,
    Read,
    /// All clients leave and do not come back.
    Leave,
    /// The server is killed, and started again after that time.
    Die(Duration),
    /// The server does nothing at all for that time, and keeps its connection.
    Freeze(Duration),
    /// Ends and hands over what was seen.
    Finish,
}

/// What a client does by itself; the number is its place on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Connect(u32),
    Reauth(u32),
    Disconnect(u32),
    /// The client of this id is gone, if it still was there.
    Gone(u32, End),
    /// It renegotiates, now and then.
    Renegotiate(u32),
    /// Its question (the second number is the key's) has waited for too long.
    Unanswered(u32, u32),
    /// A denied client of this id is forgotten.
    Denied(u32),
}

/// How an answer came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Denied,
    Temporary,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub server: u32,
    pub is_reauth: bool,
    pub asked: Mono,
    pub answered: Mono,
    pub outcome: Outcome,
}

/// What a server saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub answers: Vec<Answer>,
    /// Server, client id and when the command came.
    pub kills: Vec<(u32, u32, Timestamp)>,
    /// When the list of clients was asked for, and its size.
    pub lists: Vec<(u32, Timestamp, usize)>,
    /// Server and client id of those of whom nobody heard that they left, and when that was.
    pub unheard: Vec<(u32, u32, Timestamp)>,
    /// When it stood still.
    pub frozen: Vec<(Timestamp, Timestamp)>,
    /// When it was not there.
    pub away: Vec<(Timestamp, Timestamp)>,
    /// What was not as it has to be, in words; the first few.
    pub faults: Vec<String>,
}

/// Running totals of all servers.
#[derive(Debug, Default)]
pub struct Totals {
    pub asked: AtomicU64,
    pub answered: AtomicU64,
    pub allowed: AtomicU64,
    pub temporary: AtomicU64,
    pub wrong: AtomicU64,
    pub up: AtomicU64,
    pub killed: AtomicU64,
    pub attached: AtomicU64,
}

impl Totals {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// What all servers share.
pub struct World {
    pub clock: Clock,
    pub script: Script,
    pub totals: Totals,
    pub wrong: u32,
    pub retry: bool,
    /// Clients that were killed come again.
    pub rejoin: AtomicBool,
    /// Where faults are tried: what was seen, for the auditor.
    pub record: Option<Arc<Record>>,
}
