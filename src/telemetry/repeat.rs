//! Repeats held back: what a hostile peer can cause by the thousand is one line a second.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use crate::types::{Clock, Mono, ServerName};

/// One line of a kind from a server in this time.
const WINDOW: Duration = Duration::from_secs(1);

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);
static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

/// The last line of each kind. Bounded: servers and kinds are closed sets.
#[derive(Debug, Default)]
struct Seen(HashMap<(ServerName, &'static str), (Mono, u64)>);

impl Seen {
    fn allow(&mut self, server: &ServerName, kind: &'static str, now: Mono) -> Option<u64> {
        match self.0.get_mut(&(server.clone(), kind)) {
            None => {
                self.0.insert((server.clone(), kind), (now, 0));
                Some(0)
            }
            Some((last, suppressed)) if now - *last >= WINDOW => {
                *last = now;
                Some(std::mem::take(suppressed))
            }
            Some((_, suppressed)) => {
                *suppressed += 1;
                None
            }
        }
    }
}

/// Whether this line may be written, and how many like it were not.
pub(super) fn allow(server: &ServerName, kind: &'static str) -> Option<u64> {
    let now = CLOCK.now().mono;
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).allow(server, kind, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_within_a_second_are_counted_and_told_with_the_next_line() {
        let (mut seen, server) = (Seen::default(), "udp".parse().unwrap());
        let at = |millis| Mono(Duration::from_millis(millis));
        assert_eq!(seen.allow(&server, "malformed", at(0)), Some(0));
        assert_eq!(seen.allow(&server, "malformed", at(10)), None);
        assert_eq!(seen.allow(&server, "malformed", at(999)), None);
        assert_eq!(seen.allow(&server, "bad_id", at(999)), Some(0));
        assert_eq!(seen.allow(&server, "malformed", at(1_000)), Some(2));
    }
}
