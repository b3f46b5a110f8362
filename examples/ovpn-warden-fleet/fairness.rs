//! Whether some have a better chance than others to be decided while not all can be.

use std::collections::{BTreeMap, HashMap};

use ovpn_warden::types::Mono;

use crate::world::{Answer, Outcome};

/// Into so many parts the time of the logins is cut.
const PARTS: u32 = 10;

/// The share of their logins that was decided, of the server with the smallest by that of the one with the
/// largest: of 1 all had the same. None for one server, or where nothing was decided.
pub fn evenness_of_servers(answers: &[Answer]) -> Option<f64> {
    let shares = shares(logins(answers), |answer| answer.server);
    evenness(&shares).filter(|_| shares.len() > 1)
}

/// How many logins were decided of the server with the fewest, and of the one with the most.
pub fn decided_of_servers(answers: &[Answer]) -> Option<(usize, usize)> {
    let mut servers: HashMap<u32, usize> = HashMap::new();
    for answer in logins(answers) {
        *servers.entry(answer.server).or_default() +=
            usize::from(answer.outcome != Outcome::Temporary);
    }
    Some((*servers.values().min()?, *servers.values().max()?))
}

/// The share that was decided of those who came in each tenth of the time, oldest first, while not all could be: from the
/// first to the last who was told to come again. None where that was less than a second.
pub fn decided_of_moments(answers: &[Answer]) -> Option<Vec<f64>> {
    let put_off = logins(answers).filter(|answer| answer.outcome == Outcome::Temporary);
    let put_off = put_off.map(|answer| answer.asked);
    let (first, last) = (put_off.clone().min()?, put_off.max()?);
    let whole = (last - first).as_secs_f64();
    if whole < 1.0 {
        return None;
    }
    let part = |asked: Mono| ((asked - first).as_secs_f64() / whole * f64::from(PARTS)) as u32;
    let within = |answer: &&Answer| answer.asked >= first && answer.asked <= last;
    let answers = logins(answers).filter(within);
    Some(shares(answers, |answer| part(answer.asked).min(PARTS - 1)))
}

/// How even they are: of 1 all had the same.
pub fn evenness_of_moments(answers: &[Answer]) -> Option<f64> {
    evenness(&decided_of_moments(answers)?)
}

fn logins(answers: &[Answer]) -> impl Iterator<Item = &Answer> + Clone {
    answers.iter().filter(|answer| !answer.is_reauth)
}

/// Of the logins of each group, in its order, the share that was decided.
fn shares<'a>(
    logins: impl Iterator<Item = &'a Answer>,
    group: impl Fn(&Answer) -> u32,
) -> Vec<f64> {
    let mut groups: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    for answer in logins {
        let (decided, all) = groups.entry(group(answer)).or_default();
        *decided += u32::from(answer.outcome != Outcome::Temporary);
        *all += 1;
    }
    groups.into_values().map(|(decided, all)| f64::from(decided) / f64::from(all)).collect()
}

fn evenness(shares: &[f64]) -> Option<f64> {
    let most = shares.iter().copied().fold(0.0, f64::max);
    let least = shares.iter().copied().fold(1.0, f64::min);
    (most > 0.0).then_some(least / most)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn login(server: u32, second: u64, outcome: Outcome) -> Answer {
        let asked = Mono(Duration::from_secs(second));
        Answer { server, is_reauth: false, asked, answered: asked, outcome }
    }

    #[test]
    fn a_server_that_is_decided_half_as_often_shows() {
        let mut answers = vec![login(0, 0, Outcome::Allowed), login(0, 0, Outcome::Denied)];
        assert_eq!(evenness_of_servers(&answers), None, "there is one server");
        answers.extend([login(1, 0, Outcome::Allowed), login(1, 0, Outcome::Temporary)]);
        // A renegotiation is no login.
        answers.push(Answer { is_reauth: true, ..login(1, 0, Outcome::Temporary) });
        assert_eq!(evenness_of_servers(&answers), Some(0.5));
        assert_eq!(decided_of_servers(&answers), Some((1, 2)));
        assert_eq!(evenness_of_moments(&answers), None, "all came at once");
        let all_put_off = [login(0, 0, Outcome::Temporary), login(1, 0, Outcome::Temporary)];
        assert_eq!(evenness_of_servers(&all_put_off), None);
    }

    #[test]
    fn whoever_comes_late_and_is_decided_less_often_shows() {
        let answers = |until: u64| -> Vec<Answer> {
            let outcome = |second, turn| match second < until || turn % 4 == 0 {
                true => Outcome::Allowed,
                false => Outcome::Temporary,
            };
            let each = |second| (0..8).map(move |turn| login(0, second, outcome(second, turn)));
            (0..=20).flat_map(each).collect()
        };
        assert_eq!(evenness_of_moments(&answers(21)), None, "all were decided");
        assert_eq!(decided_of_moments(&answers(10)).unwrap(), [0.25; 10], "before it all were");
        assert_eq!(evenness_of_moments(&answers(0)), Some(1.0), "few are, at any time");
        let mut answers = answers(10);
        answers.push(login(0, 2, Outcome::Temporary));
        // From there on: the last ones have a fourth of the chance of the first.
        assert_eq!(evenness_of_moments(&answers), Some(0.25));
    }
}
