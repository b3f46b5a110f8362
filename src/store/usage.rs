//! What sessions have used of their users' quotas.
//!
//! A session counts by its own row while it is open. Its end leaves a row for each of its days in
//! `usage_periods`, in the same transaction, so that nothing counts twice or not at all.

use std::{fmt, str::FromStr, time::Duration};

use crate::types::{SessionId, Timestamp, Username};

/// The byte counts of a session when a day began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayMark {
    /// The midnight.
    pub at: Timestamp,
    /// Octets from the client until then.
    pub bytes_received: u64,
    /// Octets to the client until then.
    pub bytes_sent: u64,
}

/// The days of a session but for its first, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayMarks(Box<[DayMark]>);

/// A text that holds no marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayMarksError;

/// What a session carried on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayShare {
    /// When the day began, or the session on its first.
    pub starts_at: Timestamp,
    /// For how long it was up.
    pub time: Duration,
    /// Octets from the client.
    pub bytes_received: u64,
    /// Octets to the client.
    pub bytes_sent: u64,
}

impl DayMarks {
    /// Most days of one session that stay apart; earlier ones count as one. More than a month.
    pub const MOST: usize = 40;

    /// The marks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &DayMark> {
        self.0.iter()
    }

    /// A day has begun.
    pub fn push(&mut self, mark: DayMark) {
        let keep = self.0.len().saturating_sub(Self::MOST - 1);
        self.0 = self.0.iter().skip(keep).copied().chain([mark]).collect();
    }

    /// Cuts a session into its days. Of counters that went back, nothing is counted.
    pub fn shares(
        &self,
        from: Timestamp,
        until: Timestamp,
        bytes_received: u64,
        bytes_sent: u64,
    ) -> Vec<DayShare> {
        let end = DayMark { at: until, bytes_received, bytes_sent };
        let mut last = DayMark { at: from, bytes_received: 0, bytes_sent: 0 };
        let mut shares = Vec::with_capacity(self.0.len() + 1);
        for mark in self.0.iter().chain([&end]) {
            shares.push(DayShare {
                starts_at: last.at,
                time: mark.at.saturating_since(last.at),
                bytes_received: mark.bytes_received.saturating_sub(last.bytes_received),
                bytes_sent: mark.bytes_sent.saturating_sub(last.bytes_sent),
            });
            last = *mark;
        }
        shares
    }
}

impl fmt::Display for DayMarks {
    /// `seconds:received:sent`, with commas between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mark) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let DayMark { at, bytes_received, bytes_sent } = mark;
            write!(f, "{comma}{}:{bytes_received}:{bytes_sent}", at.as_secs())?;
        }
        Ok(())
    }
}

impl FromStr for DayMarks {
    type Err = DayMarksError;

    fn from_str(s: &str) -> Result<Self, DayMarksError> {
        let mark = |text: &str| {
            let mut parts = text.splitn(3, ':');
            let at = Timestamp::from_secs(parts.next()?.parse().ok()?);
            let bytes_received = parts.next()?.parse().ok()?;
            let bytes_sent = parts.next()?.parse().ok()?;
            Some(DayMark { at, bytes_received, bytes_sent })
        };
        let marks: Option<Box<[_]>> = s.split(',').take(Self::MOST + 1).map(mark).collect();
        marks.filter(|marks| marks.len() <= Self::MOST).map(Self).ok_or(DayMarksError)
    }
}

/// What a user has used, and may use beside his quotas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time of sessions that have ended, for each [`crate::types::Period`].
    pub time: [Duration; 4],
    /// Bytes of sessions that have ended, both ways.
    pub bytes: [u64; 4],
    /// Sessions that have not ended.
    pub open: Vec<OpenUse>,
    /// What was granted beside the quotas, each with its end.
    pub grants: Vec<(Granted, Timestamp)>,
}

impl Usage {
    /// The time that is granted at a moment.
    pub fn granted_time(&self, at: Timestamp) -> Duration {
        Duration::from_secs(self.granted(at, |amount| match amount {
            Granted::Time(seconds) => seconds,
            Granted::Data(_) => 0,
        }))
    }

    /// The bytes that are granted at a moment.
    pub fn granted_bytes(&self, at: Timestamp) -> u64 {
        self.granted(at, |amount| match amount {
            Granted::Data(bytes) => bytes,
            Granted::Time(_) => 0,
        })
    }

    fn granted(&self, at: Timestamp, of: impl Fn(Granted) -> u64) -> u64 {
        let in_force = self.grants.iter().filter(|(_, until)| *until > at);
        in_force.fold(0, |sum, (amount, _)| sum.saturating_add(of(*amount)))
    }
}

/// An open session, as far as quotas are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUse {
    /// The session.
    pub session: SessionId,
    /// When it began.
    pub started_at: Timestamp,
    /// When its row was written last: the moment of its counters.
    pub updated_at: Timestamp,
    /// When it was last seen; it may carry nothing, and have no row since.
    pub seen_at: Timestamp,
    /// Octets from the client.
    pub bytes_received: u64,
    /// Octets to the client.
    pub bytes_sent: u64,
    /// Its days.
    pub marks: DayMarks,
}

/// What is granted to a user beside the quotas of his policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaGrant {
    /// Whose.
    pub user: Username,
    /// How much.
    pub amount: Granted,
    /// Until then it counts.
    pub valid_until: Timestamp,
}

/// A grant as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its number.
    pub id: i64,
    /// How much.
    pub amount: Granted,
    /// Until then it counts.
    pub valid_until: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub actor: String,
}

/// An amount of time or data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// So many seconds.
    Time(u64),
    /// So many bytes.
    Data(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: i64, bytes_received: u64, bytes_sent: u64) -> DayMark {
        DayMark { at: Timestamp::from_secs(at), bytes_received, bytes_sent }
    }

    #[test]
    fn a_session_is_cut_exactly_where_its_days_begin() {
        let mut marks = DayMarks::default();
        let at = Timestamp::from_secs;
        let whole = marks.shares(at(100), at(160), 7, 9);
        assert_eq!(whole.len(), 1);
        assert_eq!((whole[0].starts_at, whole[0].time.as_secs()), (at(100), 60));
        marks.push(mark(200, 10, 1));
        marks.push(mark(300, 15, 1));
        let shares = marks.shares(at(100), at(350), 20, 4);
        let found: Vec<_> = shares
            .iter()
            .map(|s| (s.starts_at.as_secs(), s.time.as_secs(), s.bytes_received, s.bytes_sent))
            .collect();
        assert_eq!(found, [(100, 100, 10, 1), (200, 100, 5, 0), (300, 50, 5, 3)]);
        assert_eq!(marks.to_string().parse(), Ok(marks));
    }

    #[test]
    fn marks_are_bounded_and_nothing_gets_lost_by_it() {
        let mut marks = DayMarks::default();
        for day in 1..=50 {
            marks.push(mark(day * 86_400, day.unsigned_abs(), 0));
        }
        assert_eq!(marks.iter().count(), DayMarks::MOST);
        let until = Timestamp::from_secs(51 * 86_400);
        let shares = marks.shares(Timestamp::from_secs(0), until, 60, 0);
        assert_eq!(shares.iter().map(|s| s.bytes_received).sum::<u64>(), 60);
        assert_eq!(shares.iter().map(|s| s.time).sum::<Duration>().as_secs(), 51 * 86_400);
        assert_eq!(marks.to_string().parse(), Ok(marks));
    }

    #[test]
    fn what_holds_no_marks_is_refused() {
        for text in ["", "1:2", "1:2:3,", "1:2:-3", "a:2:3", "1:2:3:4"] {
            assert_eq!(text.parse::<DayMarks>(), Err(DayMarksError), "{text}");
        }
        assert!(vec!["1:2:3"; 41].join(",").parse::<DayMarks>().is_err());
    }
}
