//! What is done to a database of one server.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use ovpn_warden::types::Clock;
use tokio::{io::AsyncWriteExt as _, process::Command, time::sleep};

use super::{plan::How, run::say};

/// A slow database runs for so long at a time, and stands still for three times that.
const SLOW: Duration = Duration::from_millis(50);
/// How long a server may take to end by itself when its disk was full.
const TO_END: Duration = Duration::from_secs(1);
/// How `db.sh fill` ends when nothing has met the full disk.
const NOT_MET: i32 = 3;

/// As `tests/rig/db.sh start` made it.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    pub folder: &'a Path,
    pub clock: Clock,
}

impl Database<'_> {
    /// Makes it do badly for a while; whether it met that.
    pub async fn trouble(self, how: How, time: Duration) -> anyhow::Result<bool> {
        let pid: u32 = std::fs::read_to_string(self.folder.join("pid"))?.trim().parse()?;
        match how {
            How::Kill | How::Replace | How::Upgrade | How::Part | How::Hide => {}
            How::Stop => {
                signal(pid, "STOP").await?;
                sleep(time).await;
                signal(pid, "CONT").await?;
            }
            How::Slow => {
                let end = self.clock.now().mono + time;
                while self.clock.now().mono < end {
                    signal(pid, "STOP").await?;
                    sleep(SLOW * 3).await;
                    signal(pid, "CONT").await?;
                    sleep(SLOW).await;
                }
            }
            How::ReadOnly => {
                self.sql("SET GLOBAL read_only = 1").await?;
                sleep(time).await;
                self.sql("SET GLOBAL read_only = 0").await?;
            }
            How::Crowded => {
                let limit = "ALTER USER 'warden'@'%' WITH MAX_USER_CONNECTIONS";
                self.sql(&format!("{limit} 1; KILL CONNECTION USER 'warden'@'%'")).await?;
                sleep(time).await;
                self.sql(&format!("{limit} 0")).await?;
            }
            How::Cut => self.sql("KILL CONNECTION USER 'warden'@'%'").await?,
            How::Full => {
                // It goes on until a table needs a page more.
                let is_met = self.fill().await?;
                if is_met {
                    sleep(time).await;
                }
                self.script("free").await?;
                sleep(TO_END).await;
                if !Path::new(&format!("/proc/{pid}")).exists() {
                    say("          the server has ended by itself over it, and is started again");
                    self.script("again").await?;
                }
                return Ok(is_met);
            }
        }
        Ok(true)
    }

    /// What the script does to it.
    pub async fn script(self, what: &str) -> anyhow::Result<()> {
        let status = self.command(what).status().await?;
        if !status.success() {
            bail!("db.sh {what} ended with {status}");
        }
        Ok(())
    }

    /// As the server's root.
    async fn sql(self, text: &str) -> anyhow::Result<()> {
        let mut child = self.command("sql").stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("no pipe")?.write_all(text.as_bytes()).await?;
        let status = child.wait().await?;
        if !status.success() {
            bail!("{text}: {status}");
        }
        Ok(())
    }

    /// Fills its disk; whether that refused anything.
    async fn fill(self) -> anyhow::Result<bool> {
        let status = self.command("fill").status().await?;
        match status.code() {
            Some(0) => Ok(true),
            Some(NOT_MET) => Ok(false),
            _ => bail!("db.sh fill ended with {status}"),
        }
    }

    fn command(self, what: &str) -> Command {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/db.sh"));
        command.arg(what).arg(self.folder);
        command
    }
}

pub async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await?;
    if !status.success() {
        bail!("kill -{name} {pid}: {status}");
    }
    Ok(())
}
