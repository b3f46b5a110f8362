//! How a fault of the plan is played.

use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;

use super::{Play, say};
use crate::{
    chaos::{
        audit::Span,
        cluster::{Cluster, TAKEOVER},
        database::{Database, signal},
        plan::{Fault, Hit, How},
        record::Millis,
    },
    world::Order,
};

impl Play<'_> {
    /// Plays it; whether it was met.
    pub(super) async fn strike(&mut self, fault: &Fault) -> anyhow::Result<bool> {
        if fault.hit == Hit::Database && fault.how != How::Kill {
            let from = self.now();
            let is_met = self.database()?.trouble(fault.how, fault.away).await?;
            self.outages.push(Span { from, until: self.now() });
            return Ok(is_met);
        }
        self.strike_any(fault).await?;
        Ok(true)
    }

    async fn strike_any(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match (fault.hit, fault.how) {
            (
                Hit::Node(_)
                | Hit::NodeAndDaemon
                | Hit::NodeThenAnother(_)
                | Hit::AnotherThenNode(_),
                how,
            ) => self.strike_node(fault, how).await,
            (Hit::Daemon, How::Stop) => {
                let (pid, from) = (*self.pid.borrow(), self.now());
                signal(pid, "STOP").await?;
                sleep(fault.away).await;
                signal(pid, "CONT").await?;
                self.stops.push(Span { from, until: self.now() });
                Ok(())
            }
            (Hit::Daemon, How::Replace) => self.replace().await,
            (Hit::Daemon, How::Upgrade) => self.upgrade(fault.away).await,
            (Hit::Server(number), How::Stop) => self.freeze_server(number, fault.away).await,
            (Hit::Servers, How::Stop) => {
                for number in 0..self.args.servers {
                    self.freeze_server(number, fault.away).await?;
                }
                Ok(())
            }
            (Hit::Daemon, _) => {
                self.kill_daemon().await?;
                sleep(fault.away).await;
                self.start_daemon()
            }
            (Hit::Database, _) => {
                let from = self.kill_database().await?;
                sleep(fault.away).await;
                self.database_is_back(from).await
            }
            (Hit::Both, _) => {
                let from = self.kill_database().await?;
                let (after, away) = fault.second;
                sleep(after).await;
                self.kill_daemon().await?;
                sleep(away).await;
                self.start_daemon()?;
                sleep(fault.away.saturating_sub(after + away)).await;
                self.database_is_back(from).await
            }
            (Hit::Server(number), _) => self.kill_server(number, fault.away).await,
            (Hit::Servers, _) => {
                for number in 0..self.args.servers {
                    self.kill_server(number, fault.away).await?;
                }
                Ok(())
            }
        }
    }

    /// As docs/operations.md has it: `migrate` by the new program while the old one serves, and then a restart.
    async fn upgrade(&mut self, between: Duration) -> anyhow::Result<()> {
        let begun = self.clock.now().mono;
        self.rig.install();
        self.rig.migrate().await?;
        let took = self.clock.now().mono - begun;
        say(&format!("          migrated in {} ms", took.as_millis()));
        sleep(between).await;
        self.replace().await
    }

    async fn replace(&mut self) -> anyhow::Result<()> {
        let from = self.daemon_since;
        let _ = self.pid.send(0);
        self.rig.replace().await?;
        self.daemons.push(Span { from, until: self.now() });
        self.start_daemon()
    }

    async fn strike_node(&mut self, fault: &Fault, how: How) -> anyhow::Result<()> {
        let cluster = self.cluster.take().context("no cluster")?;
        let in_use = cluster.in_use().await;
        let from = self.now();
        let done = match fault.hit {
            Hit::NodeThenAnother(many) => {
                cluster.strike_two(in_use, Cluster::after(in_use, many), fault).await
            }
            Hit::AnotherThenNode(many) => {
                cluster.strike_two(Cluster::after(in_use, many), in_use, fault).await
            }
            Hit::NodeAndDaemon => {
                let (after, away) = fault.second;
                let kill = async {
                    sleep(after).await;
                    self.kill_daemon().await?;
                    sleep(away).await;
                    self.start_daemon()
                };
                let struck = cluster.strike(in_use, how, fault.away);
                let (struck, killed) = tokio::join!(struck, kill);
                struck.and(killed)
            }
            Hit::Node(Some(node)) => cluster.strike(node, how, fault.away).await,
            Hit::Node(None)
            | Hit::Daemon
            | Hit::Database
            | Hit::Both
            | Hit::Server(_)
            | Hit::Servers => cluster.strike(in_use, how, fault.away).await,
        };
        // Until it was left for another, the database was away.
        self.outages.push(Span { from, until: cluster.usable_since(from) + TAKEOVER });
        self.cluster = Some(cluster);
        done
    }

    async fn freeze_server(&self, number: u32, time: Duration) -> anyhow::Result<()> {
        let server = &self.orders[(number % self.args.servers) as usize];
        server.send(Order::Freeze(time)).await.context("a server of the fleet has ended")
    }

    async fn kill_server(&self, number: u32, away: Duration) -> anyhow::Result<()> {
        let server = &self.orders[(number % self.args.servers) as usize];
        server.send(Order::Die(away)).await.context("a server of the fleet has ended")
    }

    async fn kill_daemon(&mut self) -> anyhow::Result<()> {
        let _ = self.pid.send(0);
        let from = self.daemon_since;
        self.rig.kill().await?;
        self.daemons.push(Span { from, until: self.now() });
        Ok(())
    }

    fn start_daemon(&mut self) -> anyhow::Result<()> {
        self.daemon_since = self.now();
        let _ = self.pid.send(self.rig.launch()?);
        Ok(())
    }

    fn database(&self) -> anyhow::Result<Database<'_>> {
        let folder = self.args.database_folder.as_ref().context("no database to trouble")?;
        Ok(Database { folder, clock: self.clock })
    }

    async fn kill_database(&self) -> anyhow::Result<Millis> {
        let from = self.now();
        self.database()?.script("kill").await?;
        Ok(from)
    }

    async fn database_is_back(&mut self, from: Millis) -> anyhow::Result<()> {
        self.database()?.script("again").await?;
        self.outages.push(Span { from, until: self.now() });
        Ok(())
    }
}
