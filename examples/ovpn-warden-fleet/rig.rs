//! The daemon under test: its folder, its process, and what the system and its log say of it.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use ovpn_warden::types::{Clock, Timestamp};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

use crate::args::Args;

/// How long the daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to stop, as the unit has it.
const STOP: Duration = Duration::from_secs(15);
/// What `migrate` says of each that it has applied.
const APPLIED: &str = "applied 2";
/// How a line's level stands in the log where it is that of an error.
const ERROR: &str = "\"level\":\"error\"";
/// Of a session that is gone without a word.
const UNHEARD: &str = "\"cause\":\"unknown\"";

/// A folder with a configuration, and the daemon that runs on it.
pub struct Rig {
    pub folder: PathBuf,
    /// The file that runs.
    program: PathBuf,
    /// What it is of, and what the next one will be of.
    builds: [PathBuf; 2],
    /// What it is upgraded to.
    newest: PathBuf,
    http: SocketAddr,
    child: Option<Child>,
}

/// What the system says of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub rss_kib: u64,
    pub cpu: Duration,
}

/// Times that threads gave up the processor by themselves, counted by looks at those that there are: what one did that came
/// and ended between two looks is missed.
#[derive(Debug, Default)]
pub struct Switches {
    last: HashMap<(u32, OsString), u64>,
    pub sum: u64,
}

impl Switches {
    /// What was counted before the first look does not count.
    fn look(&mut self, now: HashMap<(u32, OsString), u64>) {
        if !self.last.is_empty() {
            let before = |thread| self.last.get(thread).copied().unwrap_or(0);
            self.sum +=
                now.iter().map(|(thread, count)| count.saturating_sub(before(thread))).sum::<u64>();
        }
        self.last = now;
    }
}

/// What the log says.
#[derive(Debug, Default)]
pub struct Log {
    /// Of approved sessions, by server and client id.
    pub deadlines: HashMap<(u32, u32), Timestamp>,
    /// Last `session.adopted` of each server, and how many there are.
    pub adopted: HashMap<u32, (Timestamp, usize)>,
    /// Of sessions whose end was not heard but found, by server and client id: the first `session.closed`.
    pub closed: HashMap<(u32, u32), Timestamp>,
    pub dropped: u64,
    /// Lines of the level of errors, and the first of them.
    pub errors: u64,
    pub first_error: Option<String>,
}

/// Several daemons on one database, each with every so many-th of the servers.
pub struct Rigs(Vec<Rig>);

impl Rigs {
    pub async fn new(folder: &Path, url: &str, ports: &[u16], args: &Args) -> anyhow::Result<Self> {
        let mut rigs = Vec::new();
        for number in 0..args.daemons as usize {
            let own = folder.join(format!("daemon{number}"));
            fs::create_dir(&own)?;
            let servers = ports.iter().copied().enumerate();
            let servers: Vec<(usize, u16)> =
                servers.skip(number).step_by(args.daemons as usize).collect();
            rigs.push(Rig::with(&own, url, &servers, args).await?);
        }
        Ok(Self(rigs))
    }

    /// Starts all; how long the slowest took.
    pub async fn start(&mut self, clock: Clock) -> anyhow::Result<Duration> {
        let mut longest = Duration::ZERO;
        for rig in &mut self.0 {
            longest = longest.max(rig.start(clock).await?);
        }
        Ok(longest)
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for rig in &mut self.0 {
            rig.stop().await?;
        }
        Ok(())
    }

    /// Of all together.
    pub fn usage(&self) -> Usage {
        self.0.iter().map(Rig::usage).fold(Usage::default(), |sum, one| Usage {
            rss_kib: sum.rss_kib + one.rss_kib,
            cpu: sum.cpu + one.cpu,
        })
    }

    /// Counts on with what their threads did since the last look.
    pub fn count_switches(&self, switches: &mut Switches) {
        let pids = self.0.iter().filter_map(|rig| rig.child.as_ref().and_then(Child::id));
        switches.look(pids.flat_map(switches_of).collect());
    }

    /// Session rows that wait for the database.
    pub async fn backlog(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for rig in &self.0 {
            sum += rig.backlog().await?;
        }
        Ok(sum)
    }

    /// Reads all logs.
    pub fn log(&self) -> anyhow::Result<Log> {
        let mut all = Log::default();
        for rig in &self.0 {
            let log = rig.log()?;
            all.deadlines.extend(log.deadlines);
            all.adopted.extend(log.adopted);
            all.closed.extend(log.closed);
            all.dropped += log.dropped;
            all.errors += log.errors;
            all.first_error = all.first_error.or(log.first_error);
        }
        Ok(all)
    }
}

impl Rig {
    /// Writes the configuration. `url` is the database's.
    pub async fn new(folder: &Path, url: &str, ports: &[u16], args: &Args) -> anyhow::Result<Self> {
        let servers: Vec<_> = ports.iter().copied().enumerate().collect();
        Self::with(folder, url, &servers, args).await
    }

    /// With these servers, by their number and port.
    async fn with(
        folder: &Path,
        url: &str,
        servers: &[(usize, u16)],
        args: &Args,
    ) -> anyhow::Result<Self> {
        let program = match &args.daemon {
            Some(path) => path.clone(),
            None => {
                let own = std::env::current_exe()?;
                let beside = own.parent().and_then(Path::parent).context("no folder")?;
                beside.join("ovpn-warden")
            }
        };
        let before = args.upgrade_from.as_ref().or(args.before.as_ref()).unwrap_or(&program);
        for program in [&program, before] {
            if !program.exists() {
                bail!("there is no {}: build it, or name one with --daemon", program.display());
            }
        }
        let free = TcpListener::bind("127.0.0.1:0").await?;
        let http = free.local_addr()?;
        drop(free);
        let (m_kib, t) = args.argon2();
        let mut text = format!(
            "[database]\nurl = \"{url}\"\nmax_connections = {}\n[http]\nlisten = \"{http}\"\n\
             [auth]\ntimeout_ms = {}\nretry_backoff_s = {}\nhash_queue = {}\nargon2_m_kib = {m_kib}\nargon2_t = {t}\n\
             [session]\naccounting_interval_s = {}\nbackstop_s = {}\n\
             [journal]\npath = \"{}\"\nmax_mib = {}\n",
            args.connections,
            args.timeout_ms,
            args.retry_backoff_s,
            args.hash_queue,
            args.accounting_s,
            args.backstop_s,
            folder.join("journal.db").display(),
            // A daemon that stops may have a row for each session to leave there.
            64 + args.all() / 1_000,
        );
        for (server, port) in servers {
            write!(
                text,
                "[[servers]]\nname = \"s{server}\"\nmanagement = \"tcp://127.0.0.1:{port}\"\n"
            )?;
        }
        let file = folder.join("config.toml");
        fs::write(&file, text)?;
        // It has the database's password.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            folder: folder.to_owned(),
            program: before.clone(),
            builds: [
                before.clone(),
                if args.upgrade_from.is_some() { before } else { &program }.clone(),
            ],
            newest: program.clone(),
            http,
            child: None,
        })
    }

    pub fn database(folder: &Path) -> String {
        format!("sqlite://{}", folder.join("warden.db").display())
    }

    /// Starts the daemon, and does not wait for it; its process. In a session of its own, as a service: Linux shares a full
    /// processor between sessions. It ends with the thread that starts it, and so with this program.
    pub fn launch(&mut self) -> anyhow::Result<u32> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let errors = log.try_clone()?;
        let child = Command::new("setpriv")
            .env_clear()
            .args(["--pdeathsig", "KILL", "setsid"])
            .arg(&self.program)
            .arg("-c")
            .arg(self.folder.join("config.toml"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(self.child.insert(child).id().unwrap_or(0))
    }

    /// Starts the daemon; returns when it says that it is ready, and how long that took.
    pub async fn start(&mut self, clock: Clock) -> anyhow::Result<Duration> {
        let begun = clock.now().mono;
        self.launch()?;
        loop {
            self.check()?;
            let took = clock.now().mono - begun;
            if is_ready(self.http).await.unwrap_or(false) {
                return Ok(took);
            }
            if took > PATIENCE {
                bail!("the daemon is not ready after {} s", PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// An error when the daemon has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(self.log_path()).unwrap_or_default();
            bail!("the daemon ended with {status}:\n{log}");
        }
        Ok(())
    }

    /// SIGKILL, as a crash.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM, as systemd stops it.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        }
        let status = tokio::time::timeout(STOP, child.wait())
            .await
            .context("the daemon does not stop")??;
        if !status.success() {
            bail!("the daemon was told to stop and ended with {status}");
        }
        Ok(())
    }

    /// Stops it as for an upgrade; what is launched next is another file, and of the other build if there is one.
    pub async fn replace(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let (fresh, path) = (self.folder.join("fresh"), self.folder.join("ovpn-warden"));
        self.builds.swap(0, 1);
        fs::copy(&self.builds[0], &fresh)?;
        fs::rename(&fresh, &path)?;
        self.program = path;
        Ok(())
    }

    /// `migrate` by the build that runs, as an operator calls it.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        let config = self.folder.join("config.toml");
        let mut command = Command::new(&self.builds[0]);
        let output = command.env_clear().arg("-c").arg(config).arg("migrate").output().await?;
        if !output.status.success() {
            bail!("migrate: {}", String::from_utf8_lossy(&output.stderr));
        }
        // Otherwise it is no upgrade over a migration.
        if !String::from_utf8_lossy(&output.stdout).contains(APPLIED) {
            bail!("migrate had nothing to do: the older build has the same schema");
        }
        Ok(())
    }

    /// From now on all builds are the newest, but what runs goes on.
    pub fn install(&mut self) {
        self.builds = [self.newest.clone(), self.newest.clone()];
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Links that are up.
    pub async fn links(&self) -> anyhow::Result<usize> {
        let text = get(self.http, "/metrics").await?;
        let is_up = |line: &&str| line.starts_with("ovpn_warden_link_up{") && line.ends_with(" 1");
        Ok(text.lines().filter(is_up).count())
    }

    /// Session rows that wait for the database.
    pub async fn backlog(&self) -> anyhow::Result<u64> {
        let text = get(self.http, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix("ovpn_warden_store_backlog "));
        Ok(line.context("no ovpn_warden_store_backlog")?.trim().parse()?)
    }

    pub fn usage(&self) -> Usage {
        let pid = self.child.as_ref().and_then(Child::id);
        pid.and_then(usage).unwrap_or_default()
    }

    /// Reads the log.
    pub fn log(&self) -> anyhow::Result<Log> {
        let mut log = Log::default();
        for line in BufReader::new(File::open(self.log_path())?).lines() {
            let line = line?;
            if line.contains(ERROR) {
                log.errors += 1;
                log.first_error.get_or_insert_with(|| line.clone());
            }
            let is_wanted = ["\"auth.allowed\"", "\"session.adopted\"", "\"log.dropped\"", UNHEARD];
            if !is_wanted.iter().any(|event| line.contains(event)) {
                continue;
            }
            let line: Value = serde_json::from_str(&line)?;
            let text = |key: &str| line.get(key).and_then(Value::as_str);
            let number = |key: &str| line.get(key).and_then(Value::as_u64);
            let server = text("server").and_then(|name| name.strip_prefix('s')?.parse().ok());
            let time = |key: &str| text(key).and_then(|at| at.parse::<Timestamp>().ok());
            match (text("event"), server) {
                (Some("auth.allowed"), Some(server)) => {
                    let cid = number("cid").and_then(|cid| cid.try_into().ok());
                    if let (Some(cid), Some(deadline)) = (cid, time("deadline")) {
                        log.deadlines.insert((server, cid), deadline);
                    }
                }
                (Some("session.adopted"), Some(server)) => {
                    let at = time("timestamp").unwrap_or_default();
                    let (last, count) = log.adopted.entry(server).or_default();
                    *last = at.max(*last);
                    *count += 1;
                }
                (Some("session.closed"), Some(server)) => {
                    let cid = number("cid").and_then(|cid| cid.try_into().ok());
                    if let (Some(cid), Some(at)) = (cid, time("timestamp")) {
                        log.closed.entry((server, cid)).or_insert(at);
                    }
                }
                (Some("log.dropped"), _) => log.dropped += number("lines").unwrap_or(0),
                _ => {}
            }
        }
        Ok(log)
    }
}

async fn get(http: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn is_ready(http: SocketAddr) -> std::io::Result<bool> {
    Ok(get(http, "/readyz").await?.starts_with("HTTP/1.1 200"))
}

fn usage(pid: u32) -> Option<Usage> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(process.join("status")).ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // After the name, which may hold anything, come state and then numbers; utime is the 14th field
    // of all, stime the 15th, in hundredths of a second (USER_HZ, fixed in Linux's interface).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Usage { rss_kib: field(&status, "VmRSS:")?, cpu: Duration::from_millis(ticks * 10) })
}

/// Of each thread of a process, how often it gave up the processor by itself.
fn switches_of(pid: u32) -> Vec<((u32, OsString), u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        Some(((pid, task.file_name()), field(&status, "voluntary_ctxt_switches:")?))
    };
    tasks.filter_map(of_task).collect()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_error_is_known() {
        // Its lines are written by the program itself, one of each event.
        let samples = include_str!("../../docs/events.md").lines();
        let errors: Vec<_> = samples.filter(|line| line.contains(ERROR)).collect();
        assert!(errors.iter().any(|line| line.contains("\"journal.failed\"")), "{errors:?}");
    }

    #[test]
    fn a_thread_that_has_ended_takes_nothing_away_and_a_new_one_counts_whole() {
        let look = |of: &[(&str, u64)]| {
            of.iter().map(|(tid, count)| ((1, OsString::from(tid)), *count)).collect()
        };
        let mut switches = Switches::default();
        switches.look(look(&[("1", 50), ("2", 7)]));
        assert_eq!(switches.sum, 0);
        switches.look(look(&[("1", 52), ("3", 4)]));
        assert_eq!(switches.sum, 6);
        switches.look(look(&[("1", 52), ("3", 5)]));
        assert_eq!(switches.sum, 7);
        assert!(!switches_of(std::process::id()).is_empty());
    }
}
