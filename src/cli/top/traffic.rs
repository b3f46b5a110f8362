//! What a session carries a second, from byte counts that the daemon stores now and then. Core.

use std::time::Duration;

use crate::{store::SessionRecord, types::Timestamp};

/// Octets a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// From the client.
    pub received: f64,
    /// To the client.
    pub sent: f64,
}

impl Rate {
    pub fn both(self) -> f64 {
        self.received + self.sent
    }
}

/// Byte counts with their time, and the rate that led to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    at: Timestamp,
    received: u64,
    sent: u64,
    rate: Option<Rate>,
}

impl Flow {
    /// Goes on with a session as it is now. A row that was written for another reason than its
    /// counts says nothing about them.
    pub fn next(before: Option<&Self>, session: &SessionRecord, accounting: Duration) -> Self {
        let (received, sent) = (session.bytes_received, session.bytes_sent);
        let is = Self { at: session.updated_at, received, sent, rate: None };
        let Some(before) = before else { return is };
        let passed = is.at.saturating_since(before.at);
        let is_same = (is.received, is.sent) == (before.received, before.sent);
        if passed.is_zero() || is_same && passed < accounting {
            return *before;
        }
        let rate = |was: u64, is: u64| is.saturating_sub(was) as f64 / passed.as_secs_f64();
        let (received, sent) = (rate(before.received, received), rate(before.sent, sent));
        Self { rate: Some(Rate { received, sent }), ..is }
    }

    /// The rate now: counts that do not change are not stored, so silence is none.
    pub fn rate(&self, now: Timestamp, accounting: Duration) -> Option<Rate> {
        let is_silent = now.saturating_since(self.at) > 3 * accounting;
        self.rate.map(|rate| if is_silent { Rate::default() } else { rate })
    }
}
