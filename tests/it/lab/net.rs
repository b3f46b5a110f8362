//! Network namespaces without names: each is held by a keeper process and gone when that ends.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::process::{must, run, wait_until};

/// Waits for the end of its input, that is for the end of the lab or of the whole test process, and
/// then kills what is left in its namespace. `unshare` has made that for it alone.
const KEEPER: &str = r#"
cat >/dev/null
own=$(readlink /proc/$$/ns/net)
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  if [ "$pid" != $$ ] && [ "$(readlink "$process/ns/net" 2>/dev/null)" = "$own" ]; then
    kill -KILL "$pid" 2>/dev/null
  fi
done
"#;

/// One network namespace; clones made with [`Namespace::share`] are the same one.
pub struct Namespace {
    keeper: Arc<Keeper>,
}

struct Keeper {
    child: Child,
}

impl Namespace {
    #[track_caller]
    pub fn new() -> Self {
        let mut child = must(
            Command::new("unshare")
                .args(["--net", "sh", "-c", KEEPER])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0) // Ctrl-C is for the tests; the keeper has its work to do then
                .spawn(),
            "start unshare",
        );
        // The process is there before its namespace is.
        let own = namespace_of("self");
        let pid = child.id().to_string();
        let made = wait_until(Duration::from_secs(10), || {
            if child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            namespace_of(&pid).filter(|theirs| Some(theirs) != own.as_ref()).map(|_| true)
        });
        assert_eq!(made, Some(true), "could not make a network namespace: these tests need root");
        Self { keeper: Arc::new(Keeper { child }) }
    }

    pub fn share(&self) -> Self {
        Self { keeper: Arc::clone(&self.keeper) }
    }

    fn pid(&self) -> u32 {
        self.keeper.child.id()
    }

    /// `program` inside this namespace. It is executed in place: its pid is the one that was started.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("--").arg(program);
        command
    }

    /// Runs lines of `ip` commands in here.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        let mut child = must(
            self.command("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn(),
            "start ip",
        );
        if let Some(mut input) = child.stdin.take() {
            must(input.write_all(lines.as_bytes()), "write to ip");
        }
        let output = must(child.wait_with_output(), "wait for ip");
        assert!(
            output.status.success(),
            "ip: {}\n{lines}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Connects this client namespace number `index` with the server's:
    /// 198.18.INDEX.1 there, 198.18.INDEX.2 here.
    #[track_caller]
    pub fn join(&self, server: &Self, index: u8) {
        server.ip(&format!(
            "link add c{index} type veth peer name uplink netns {}\n\
             addr add 198.18.{index}.1/29 dev c{index}\n\
             link set c{index} up\n",
            self.pid()
        ));
        // The default route makes OpenVPN send this MAC as IV_HWADDR. It leads nowhere, so that an answer
        // from behind the tunnel can only have come through it.
        self.ip(&format!(
            "link set lo up\n\
             link set uplink address {}\n\
             addr add 198.18.{index}.2/29 dev uplink\n\
             link set uplink up\n\
             route add default via 198.18.{index}.6\n",
            hardware_address(index)
        ));
    }

    /// The answers to `count` pings.
    pub fn ping(&self, target: &str, count: u32) -> u32 {
        let count = count.to_string();
        let result = self
            .command("ping")
            .args(["-n", "-i", "0.2", "-W", "2", "-c", &count, target])
            .stdin(Stdio::null())
            .output();
        let text = result
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        // "3 packets transmitted, 3 received, 0% packet loss, time 403ms"
        text.split(", ")
            .find_map(|part| part.strip_suffix(" received"))
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }

    /// Cuts or mends this client namespace's link: packets vanish, nobody is told.
    #[track_caller]
    pub fn set_link(&self, up: bool) {
        self.ip(if up { "link set uplink up\n" } else { "link set uplink down\n" });
    }
}

/// The MAC of the client namespace `index`, which OpenVPN sends as `IV_HWADDR`.
pub fn hardware_address(index: u8) -> String {
    format!("02:00:00:00:01:{index:02x}")
}

fn namespace_of(pid: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // the end of its input: it cleans up and ends
        if wait_until(Duration::from_secs(5), || self.child.try_wait().ok().flatten()).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// One HTTP GET inside `namespace`: the whole response, empty when nobody listens.
pub fn http_get(namespace: &Namespace, port: u16, path: &str) -> String {
    // bash opens the connection; nothing like curl has to be installed.
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && \
         printf 'GET %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' '{path}' >&3 && cat <&3"
    );
    run(namespace.command("timeout").args(["5", "bash", "-c", &script]))
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
