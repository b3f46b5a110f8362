//! The end of a session is announced, once, before it comes.

use super::*;

const BEFORE: Duration = Duration::from_secs(300);

fn lab() -> Lab {
    let mut lab = Lab::up();
    lab.engine.settings.warn_before = Some(BEFORE);
    lab
}

impl Lab {
    /// Seconds that were left at each announcement.
    fn warnings(&self) -> Vec<u64> {
        let left = |event: &Event| {
            let Event::SessionEnding { left, .. } = event else { return None };
            Some(left.as_secs())
        };
        self.events.iter().filter_map(left).collect()
    }

    fn review(&mut self, session: SessionId, seconds: u64) {
        let terms = limited(Some(self.now.utc.saturating_add(Duration::from_secs(seconds))));
        self.engine.handle_reviews(vec![(session, Ok(Some(terms)))], self.now);
        self.drain();
    }
}

#[test]
fn an_end_is_announced_once_and_stored_and_comes_all_the_same() {
    let mut lab = lab();
    lab.establish(4, "alice", 3_600);
    lab.pass(Duration::from_millis(3_299_999));
    assert_eq!((lab.warnings(), lab.last_row().warned_at), (vec![], None));
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.warnings(), [300]);
    assert_eq!(lab.last_row().warned_at, Some(lab.now.utc));
    assert_eq!(lab.last_row().state, SessionState::Active);
    lab.pass(Duration::from_secs(299));
    assert_eq!((lab.warnings(), lab.kills(4)), (vec![300], 0));
    lab.pass(second());
    assert_eq!((lab.warnings(), lab.kills(4)), (vec![300], 1));
}

#[test]
fn a_short_session_is_announced_when_it_is_up_and_not_before() {
    let mut lab = lab();
    let ticket = lab.connect(4, "alice");
    lab.allow_until(ticket, Some(60));
    lab.pass(Duration::from_secs(10));
    assert_eq!(lab.warnings(), [0; 0], "it is not up");
    lab.say(Message::Established { cid: Cid(4), env: Env::default() });
    lab.pass(Duration::ZERO);
    assert_eq!(lab.warnings(), [50]);
}

#[test]
fn a_deadline_that_moves_away_is_announced_anew_and_one_that_only_shifts_is_not() {
    let mut lab = lab();
    let session = lab.establish(4, "alice", 600);
    lab.pass(Duration::from_secs(400));
    assert_eq!(lab.warnings(), [300]);
    lab.review(session, 240);
    lab.pass(Duration::from_secs(10));
    assert_eq!(lab.warnings(), [300]);
    lab.review(session, 3_600);
    assert_eq!(lab.last_row().warned_at, None, "nothing is near now");
    lab.pass(Duration::from_secs(100));
    lab.review(session, 300);
    lab.pass(Duration::from_secs(20));
    assert_eq!(lab.warnings(), [300, 300]);
}

#[test]
fn a_deadline_that_comes_near_by_a_change_is_announced_at_once() {
    let mut lab = lab();
    let session = lab.establish(4, "alice", 3_600);
    lab.review(session, 30);
    lab.pass(Duration::ZERO);
    assert_eq!(lab.warnings(), [30]);
}

#[test]
fn what_an_earlier_daemon_announced_is_not_announced_again() {
    for (warned, times) in [(true, 0), (false, 1)] {
        let mut lab = lab();
        lab.establish(4, "alice", 100);
        let mut row = lab.last_row().clone();
        row.warned_at = warned.then_some(row.started_at);
        row.state = SessionState::Active;
        let mut next = Lab::new();
        next.engine.settings.warn_before = Some(BEFORE);
        next.now = lab.now;
        next.engine.handle_store_ready(true, next.now);
        next.attach(RUN, vec![listed(4, "alice", "10.8.0.6")]);
        next.load(vec![row]);
        next.pass(second());
        assert_eq!(next.warnings().len(), times);
    }
}

#[test]
fn what_is_being_ended_or_has_no_end_is_not_announced() {
    let mut lab = lab();
    let session = lab.establish(4, "alice", 3_600);
    let ticket = lab.connect(5, "bob");
    lab.allow_until(ticket, None);
    lab.say(Message::Established { cid: Cid(5), env: Env::default() });
    lab.engine.handle_reviews(vec![(session, Err(Cause::AccountDisabled))], lab.now);
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.warnings(), [0; 0]);
}
