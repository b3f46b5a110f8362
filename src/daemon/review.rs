//! Judges the sessions that run by what the database says now.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    auth::decide::{holds_until, review},
    engine::Review,
    store::{FactTrace, Standing, StoreError, USERS_OF_USAGE, Usage},
    types::{Periods, ServerName, Timestamp, Username},
};

use super::{
    link::LinkRequest,
    poller::Poller,
    rhythm::{Judged, Looked},
};

/// Sessions that are read by one statement; a server alone may have more.
const TOGETHER: usize = 500;
/// From so many on their policies are read apart.
const MANY: usize = 50;

/// What a review has passed over, by server.
pub(super) type Faults = BTreeSet<(ServerName, String)>;

/// What is to become of sessions.
#[derive(Default)]
pub(super) struct Verdicts {
    pub(super) by_server: HashMap<ServerName, Vec<Review>>,
    /// Until when all of that holds, if nothing is changed.
    holds: Option<Timestamp>,
}

impl Poller {
    /// Judges every session that runs, unless the database's trace is this one; also says what was passed over: a row
    /// that cannot be read is that user's or server's, and not the database away. With `of_all` the servers without
    /// sessions are looked at, too, in any case.
    pub(super) async fn look(
        &self,
        servers: &[ServerName],
        of_all: bool,
        unless: Option<FactTrace>,
    ) -> Result<(Looked, Faults), StoreError> {
        let began = self.clock.now().mono;
        let trace = match self.store.fact_trace().await {
            Err(error) if is_database_away(&error) => return Err(error),
            trace => trace.unwrap_or_default(),
        };
        let now = self.clock.now();
        let is_needed = unless.is_none() || trace != unless;
        let count = |server: &ServerName| match self.readiness.sessions(server).unwrap_or_default()
        {
            0 => usize::from(of_all),
            _ if !is_needed => 0,
            count => count,
        };
        let counted = servers.iter().map(|server| (server.clone(), count(server)));
        let mut faults = Faults::new();
        let mut holds: Option<Timestamp> = None;
        let mut is_whole = true;
        for (count, servers) in together(counted) {
            let standings = self.standings(&servers, count >= MANY, &mut faults).await?;
            let verdicts = self.judged(&standings, &mut faults).await?;
            holds = holds.into_iter().chain(verdicts.holds).min();
            for (server, reviews) in verdicts.by_server {
                if let Some(link) = self.links.get(&server) {
                    // A link that is behind gets the next one.
                    is_whole &= link.try_send(LinkRequest::Review(reviews)).is_ok();
                }
            }
        }
        let holds = match is_whole && faults.is_empty() {
            // Not by a moment less: the look at that time would judge them once more as they are now.
            true => holds.map(|at| at.saturating_since(now.utc) + (now.mono - began)),
            false => Some(Duration::ZERO),
        };
        let judged = is_needed.then(|| Judged { took: self.clock.now().mono - now.mono, holds });
        Ok((Looked { began, trace, judged }, faults))
    }

    /// What the sessions of these servers are judged by; of a server that cannot be read, nothing.
    async fn standings(
        &self,
        servers: &[ServerName],
        are_many: bool,
        faults: &mut Faults,
    ) -> Result<Vec<Standing>, StoreError> {
        let found = match are_many {
            true => self.store.many_standings(servers).await,
            false => self.store.standings(servers).await,
        };
        match found {
            Err(error) if !is_database_away(&error) => {}
            found => return found,
        }
        let mut all = Vec::new();
        for server in servers {
            match self.store.standings(std::slice::from_ref(server)).await {
                Ok(mut found) => all.append(&mut found),
                Err(error) => pass_over(faults, server, error)?,
            }
        }
        Ok(all)
    }

    /// What is to become of each session, by server. Of whose user nobody can say what he has used, the terms
    /// stay as they are.
    pub(super) async fn judged(
        &self,
        standings: &[Standing],
        faults: &mut Faults,
    ) -> Result<Verdicts, StoreError> {
        let now = self.clock.now().utc;
        let used = self.usage(standings, now, faults).await?;
        let nothing = Usage::default();
        let mut verdicts = Verdicts::default();
        for standing in standings {
            let holds = match used.contains_key(&standing.user) {
                // Others may use up what is left.
                true => Some(now),
                false => holds_until(standing, &self.defaults, now),
            };
            verdicts.holds = verdicts.holds.into_iter().chain(holds).min();
            let verdict = match used.get(&standing.user) {
                Some(Some(usage)) => review(standing, usage, &self.defaults, now),
                Some(None) => review(standing, &nothing, &self.defaults, now).map(|_| None),
                None => review(standing, &nothing, &self.defaults, now),
            };
            let server = verdicts.by_server.entry(standing.server.clone());
            server.or_default().push((standing.session, verdict));
        }
        Ok(verdicts)
    }

    /// What those have used whose policies have quotas; `None`: nobody can say.
    async fn usage(
        &self,
        standings: &[Standing],
        now: Timestamp,
        faults: &mut Faults,
    ) -> Result<HashMap<Username, Option<Usage>>, StoreError> {
        let mut began: BTreeMap<&Username, (&ServerName, Periods)> = BTreeMap::new();
        for Standing { user, server, account, .. } in standings {
            if let Some(policy) = account.as_ref().map(|a| &a.policy).filter(|p| p.has_quotas()) {
                let zone = policy.time_zone.unwrap_or(self.defaults.time_zone);
                began.entry(user).or_insert_with(|| (server, zone.began(now)));
            }
        }
        let users: Vec<_> =
            began.iter().map(|(user, (_, began))| ((*user).clone(), *began)).collect();
        let mut used = HashMap::with_capacity(users.len());
        for users in users.chunks(USERS_OF_USAGE) {
            match self.store.usage(users, now).await {
                Ok(found) => {
                    let found = found.into_iter().map(Some);
                    used.extend(users.iter().map(|(user, _)| user.clone()).zip(found));
                }
                Err(error) if is_database_away(&error) => return Err(error),
                // Whose it is shows when each is asked about alone.
                Err(_) => {
                    for one in users.chunks(1) {
                        let user = &one[0].0;
                        let found = match self.store.usage(one, now).await {
                            Ok(found) => found.into_iter().next(),
                            Err(error) => {
                                let server = began.get(user).map(|(server, _)| *server);
                                server.map_or(Ok(()), |server| pass_over(faults, server, error))?;
                                None
                            }
                        };
                        used.insert(user.clone(), found);
                    }
                }
            }
        }
        Ok(used)
    }
}

/// Whether this is an error of the database, and not of a row in it.
pub(super) const fn is_database_away(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Schema(_))
}

fn pass_over(
    faults: &mut Faults,
    server: &ServerName,
    error: StoreError,
) -> Result<(), StoreError> {
    if is_database_away(&error) {
        return Err(error);
    }
    faults.insert((server.clone(), error.to_string()));
    Ok(())
}

/// Servers whose sessions are read by one statement each time, with their number; none for those without sessions.
fn together(counted: impl Iterator<Item = (ServerName, usize)>) -> Vec<(usize, Vec<ServerName>)> {
    let mut groups: Vec<(usize, Vec<ServerName>)> = Vec::new();
    for (server, count) in counted.filter(|(_, count)| *count > 0) {
        match groups.last_mut().filter(|(sum, _)| sum + count <= TOGETHER) {
            Some((sum, servers)) => {
                *sum += count;
                servers.push(server);
            }
            None => groups.push((count, vec![server])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_are_read_together_and_none_where_there_are_none() {
        let counts = [0, 25, 25, 450, 1, 2_000, 3, 0, 4];
        let counted = counts
            .iter()
            .enumerate()
            .map(|(number, count)| (format!("s{number}").parse::<ServerName>().unwrap(), *count));
        let groups: Vec<Vec<String>> = together(counted)
            .iter()
            .map(|(_, servers)| servers.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(groups, [vec!["s1", "s2", "s3"], vec!["s4"], vec!["s5"], vec!["s6", "s8"]]);
        assert_eq!(together([("s".parse().unwrap(), 0)].into_iter()), Vec::new());
    }
}
