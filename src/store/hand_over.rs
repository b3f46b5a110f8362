//! An operator's request on its way to the daemon that holds the session.

use std::time::Duration;

use super::{Actor, CommandAction, Store, StoreError};
use crate::types::{Clock, SessionId, Timestamp};

/// How long to wait for a daemon: it looks for requests every second.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandedOver {
    /// A daemon has handled it, at that time.
    Handled(Timestamp),
    /// None has taken it yet; it stays queued.
    Queued,
    /// It was stored, and then the database did not say what became of it.
    Unknown(StoreError),
}

/// Stores a request and waits a moment for a daemon to handle it.
///
/// # Errors
/// As [`Store::request`]: it was not stored.
pub async fn hand_over(
    store: &dyn Store,
    clock: Clock,
    session: SessionId,
    action: &CommandAction,
    by: &Actor,
) -> Result<HandedOver, StoreError> {
    let id = store.request(session, action, by).await?;
    let until = clock.now().mono + PATIENCE;
    loop {
        match store.command_handled(id).await {
            Ok(Some(at)) => return Ok(HandedOver::Handled(at)),
            Ok(None) if clock.now().mono >= until => return Ok(HandedOver::Queued),
            Ok(None) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Ok(HandedOver::Unknown(error)),
        }
    }
}

/// Where a deadline goes: from where it is, or from now when it is past or there is none.
pub fn extended(present: Option<Timestamp>, duration: Duration, now: Timestamp) -> Timestamp {
    present.map_or(now, |deadline| deadline.max(now)).saturating_add(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_from_where_it_is_or_from_now() {
        let at = Timestamp::from_secs;
        let hour = Duration::from_secs(3_600);
        assert_eq!(extended(Some(at(5_000)), hour, at(1_000)), at(8_600));
        assert_eq!(extended(Some(at(500)), hour, at(1_000)), at(4_600));
        assert_eq!(extended(None, hour, at(1_000)), at(4_600));
        assert_eq!(extended(None, Duration::MAX, at(0)), Timestamp::MAX);
    }
}
