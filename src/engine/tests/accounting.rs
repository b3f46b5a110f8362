//! Byte counts on their way to rows, and the server's own row.

use super::*;

const INTERVAL: Duration = Duration::from_secs(30);

fn count(lab: &mut Lab, bytes: u64) {
    lab.say(Message::ByteCount { cid: Cid(4), bytes_received: bytes, bytes_sent: bytes });
}

#[test]
fn counts_never_go_back_and_what_has_not_changed_is_not_stored() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.pass(INTERVAL);
    lab.forget();
    for bytes in [100, 300, 200] {
        count(&mut lab, bytes);
    }
    assert!(lab.rows.is_empty());
    lab.pass(INTERVAL);
    assert_eq!(lab.rows.len(), 1);
    assert_eq!(lab.last_row().bytes_received, 300);
    lab.pass(INTERVAL);
    assert_eq!(lab.rows.len(), 1, "nothing new, nothing stored");
}

/// A byte that goes through at any moment is in a row within one interval: the server counts it, and
/// our next round stores it.
#[test]
fn a_crash_at_any_moment_loses_the_bytes_of_one_interval_at_most() {
    // The server's counts of a client begin when it does: at any moment between our rounds; and a
    // server that counts often because of somebody's limits.
    for offset in (0..8_000).step_by(500) {
        for every in [5, 22] {
            let mut lab = Lab::up();
            lab.pass(Duration::from_millis(offset));
            lab.establish(4, "alice", 36_000);
            lab.forget();
            let every = Duration::from_secs(every);
            // One byte a millisecond.
            let begun = lab.now.mono;
            let mut next = every;
            while next < INTERVAL * 8 {
                while lab.now.mono - begun + Duration::from_millis(500) < next {
                    lab.pass(Duration::from_millis(500));
                    let carried = (lab.now.mono - begun).as_millis() as u64;
                    let stored = lab.rows.last().map_or(0, |row| row.bytes_sent);
                    let most = INTERVAL.as_millis() as u64 + 500;
                    assert!(carried - stored <= most, "{offset} {every:?}: {carried} {stored}");
                }
                lab.pass(next - (lab.now.mono - begun));
                count(&mut lab, next.as_millis() as u64);
                next += every;
            }
            let rows = lab.rows.len();
            assert!(rows <= 16, "{rows} rows in 8 intervals, a count each {every:?}");
        }
    }
}

#[test]
fn a_server_is_seen_once_an_interval_as_it_was_heard_last() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.forget();
    lab.pass(INTERVAL * 3);
    assert_eq!(lab.marks.len(), 3);
    let mark = lab.marks.last().unwrap();
    assert_eq!((mark.run_started, mark.sessions), (Timestamp::from_secs(RUN), 1));
    let age = lab.now.utc.saturating_since(mark.seen_at);
    assert!(age <= INTERVAL * 2, "a quiet server is asked: {age:?}");
    // One that does not answer is not seen.
    lab.forget();
    lab.is_dead = true;
    lab.pass(INTERVAL * 2);
    assert!(lab.marks.iter().all(|mark| lab.now.utc.saturating_since(mark.seen_at) > INTERVAL));
    lab.engine.handle_lost(lab.now);
    lab.forget();
    lab.pass(INTERVAL * 2);
    assert!(lab.marks.is_empty());
}

#[test]
fn a_server_is_seen_when_the_comparison_is_done_and_not_before() {
    let mut lab = Lab::new();
    lab.engine.handle_store_ready(true, lab.now);
    lab.attach(RUN, vec![]);
    lab.pass(INTERVAL);
    assert!(lab.marks.is_empty(), "rows of clients that have left may be open");
    lab.load(vec![]);
    assert_eq!(lab.marks.len(), 1);
}

#[test]
fn stopping_stores_everything_and_ends_nobody() {
    let mut lab = Lab::up();
    lab.establish(4, "alice", 3_600);
    lab.say(Message::ByteCount { cid: Cid(4), bytes_received: 7, bytes_sent: 8 });
    lab.forget();
    lab.engine.handle_shutdown();
    lab.drain();
    assert_eq!(lab.last_row().bytes_received, 7);
    assert_eq!(lab.last_row().state, SessionState::Active);
    assert!(lab.sent.is_empty());
}
