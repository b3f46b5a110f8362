//! Replies are not tagged but strictly in order: a queue pairs them with what was sent.

use std::{collections::VecDeque, time::Duration};

use crate::types::{Cid, Kid, Mono};

use super::{REPLY_TIMEOUT, RelayId};

/// How long a list may take from its first line.
const WHOLE_REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// What the oldest unanswered command was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Version,
    EnvFilter,
    StateOn,
    State,
    /// With the serial number when it was asked: clients that were born later are not in the list.
    Status {
        asked: u64,
    },
    ByteCount,
    HoldRelease,
    Auth {
        cid: Cid,
        kid: Kid,
        reauth: bool,
    },
    PendingAuth,
    Log,
    /// Another tool's, by its number.
    Relayed {
        id: RelayId,
        is_list: bool,
    },
    Deny {
        cid: Cid,
        kid: Kid,
    },
    Kill {
        cid: Cid,
    },
}

impl Expect {
    /// The command's word, for people.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::EnvFilter => "env-filter",
            Self::StateOn => "state on",
            Self::State => "state",
            Self::Status { .. } => "status 3",
            Self::ByteCount => "bytecount",
            Self::HoldRelease => "hold release",
            Self::Auth { .. } => "client-auth",
            Self::PendingAuth => "client-pending-auth",
            Self::Log => "log",
            Self::Relayed { .. } => "a relayed command",
            Self::Deny { .. } => "client-deny",
            Self::Kill { .. } => "client-kill",
        }
    }
}

/// Commands without their replies, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replies {
    queue: VecDeque<(Expect, Mono)>,
    /// When the last reply came: the oldest command's time counts from there.
    last_reply: Mono,
    /// Since when parts of the oldest command's reply have come.
    begun: Option<Mono>,
}

impl Replies {
    pub(super) fn push(&mut self, expect: Expect, now: Mono) {
        self.queue.push_back((expect, now));
    }

    pub(super) fn front(&self) -> Option<Expect> {
        self.queue.front().map(|(expect, _)| *expect)
    }

    pub(super) fn pop(&mut self, now: Mono) -> Option<Expect> {
        self.last_reply = now;
        self.begun = None;
        self.queue.pop_front().map(|(expect, _)| expect)
    }

    /// A part of the oldest command's reply has come.
    pub(super) fn go_on(&mut self, now: Mono) {
        self.last_reply = now;
        self.begun.get_or_insert(now);
    }

    /// Whether a part of the oldest command's reply has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.begun = None;
    }

    pub(super) fn contains(&self, wanted: impl Fn(Expect) -> bool) -> bool {
        self.queue.iter().any(|(expect, _)| wanted(*expect))
    }

    pub(super) fn timeout(&self) -> Option<Mono> {
        let silent = self.queue.front().map(|(_, sent)| (*sent).max(self.last_reply));
        let whole = self.begun.map(|begun| begun + WHOLE_REPLY_TIMEOUT);
        silent.map(|since| since + REPLY_TIMEOUT).into_iter().chain(whole).min()
    }

    pub(super) fn overdue(&self, now: Mono) -> Option<&'static str> {
        let late = self.timeout().is_some_and(|at| at <= now);
        self.front().filter(|_| late).map(Expect::command)
    }
}
