//! How soon logins are back: pure.

use std::collections::HashMap;

use super::{
    audit::{COMPARE, Span},
    record::Millis,
};

/// How long nobody was let in although somebody could have been, at most, and since when; `closed`: when nobody could,
/// `stalls`: when something stood still, which takes only itself out.
pub fn longest_wait(admissions: &[Millis], closed: &[Span], stalls: &[Span]) -> (Millis, Millis) {
    let running = |from: Millis, until: Millis| {
        let still = stalls.iter().map(|stall| stall.within(Span { from, until })).sum::<Millis>();
        (until - from - still, from)
    };
    let mut closed = closed.to_vec();
    closed.sort_by_key(|span| span.from);
    let mut longest = (0, 0);
    for (from, until) in admissions.iter().zip(admissions.iter().skip(1)) {
        // What is left of the time between two logins when the other is taken out.
        let mut usable = *from;
        for span in closed.iter().filter(|span| span.until > *from && span.from < *until) {
            longest = longest.max(running(usable, span.from));
            usable = usable.max(span.until);
        }
        longest = longest.max(running(usable, *until));
    }
    longest
}

/// How long after the beginning of a span somebody was let in within it, at most, and which one it was.
pub fn latest_within(admissions: &[Millis], closed: &[Span]) -> (Millis, Millis) {
    let late = |span: &Span| {
        let within = admissions.iter().filter(|at| **at > span.from && **at < span.until);
        within.max().map(|at| (at - span.from, span.from))
    };
    closed.iter().filter_map(late).max().unwrap_or((0, 0))
}

/// When there was no daemon; a new one takes a moment.
pub fn without_daemon(daemons: &[Span]) -> Vec<Span> {
    let deaths = daemons.iter().zip(daemons.iter().skip(1));
    deaths.map(|(dead, next)| Span { from: dead.until, until: next.from + COMPARE }).collect()
}

/// When nobody could be let in on a server that was away or stood still.
pub fn without_server(away: &[Span]) -> Vec<Span> {
    away.iter().map(|span| Span { until: span.until + COMPARE, ..*span }).collect()
}

/// By server, when somebody was let in; of each in order.
pub fn by_server(admissions: impl IntoIterator<Item = (u32, Millis)>) -> HashMap<u32, Vec<Millis>> {
    let mut servers: HashMap<u32, Vec<Millis>> = HashMap::new();
    for (server, at) in admissions {
        servers.entry(server).or_default().push(at);
    }
    servers.values_mut().for_each(|times| times.sort_unstable());
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(from: Millis, until: Millis) -> Span {
        Span { from, until }
    }

    #[test]
    fn logins_are_waited_for_from_the_moment_when_somebody_can_be_let_in() {
        let admissions = [0, 100, 9_100, 9_200];
        let outage = span(200, 6_000);
        assert_eq!(longest_wait(&admissions, &[outage], &[]), (3_100, 6_000));
        assert_eq!(longest_wait(&admissions, &[], &[]), (9_000, 100));
        let beyond = span(4_000, 9_150);
        assert_eq!(longest_wait(&admissions, &[beyond], &[]), (3_900, 100), "known by reading");
        assert_eq!(longest_wait(&admissions, &[beyond, outage], &[]), (100, 100));
        assert_eq!(longest_wait(&admissions, &[span(1_000, 2_000)], &[]), (7_100, 2_000));
        // A stall of two seconds does not begin the wait anew.
        assert_eq!(longest_wait(&admissions, &[], &[span(5_000, 7_000)]), (7_000, 100));
    }

    #[test]
    fn who_is_let_in_within_a_span_is_found() {
        let closed = [span(100, 200), span(1_000, 9_000)];
        assert_eq!(latest_within(&[50, 100, 130, 200, 1_020, 1_010, 9_001], &closed), (30, 100));
        assert_eq!(latest_within(&[6_000, 130, 8_999], &closed), (7_999, 1_000));
        assert_eq!(latest_within(&[100, 9_000], &closed), (0, 0));
    }

    #[test]
    fn nobody_can_be_let_in_while_its_server_is_away_or_between_two_daemons() {
        assert_eq!(without_server(&[span(0, 10)]), [span(0, 10 + COMPARE)]);
        let daemons = [span(0, 100), span(300, 400), span(450, 900)];
        assert_eq!(without_daemon(&daemons), [span(100, 300 + COMPARE), span(400, 450 + COMPARE)]);
    }

    #[test]
    fn logins_of_one_server_say_nothing_of_another() {
        let servers = by_server([(1, 300), (0, 9_000), (1, 200), (0, 100), (1, 100)]);
        assert_eq!(servers[&1], [100, 200, 300]);
        assert_eq!(longest_wait(&servers[&0], &[], &[]), (8_900, 100));
    }
}
