//! Real OpenVPN servers and clients, on the very files of `conf/` that users are given.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use super::Scratch;
use super::net::{self, Namespace};
use super::process::{Process, must, wait_until};

/// How the server offers its management port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Tcp,
    Unix,
    /// It dials the daemon, which has to be there already.
    DialsIn,
}

#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub transport: Transport,
    /// Whether the management port asks for a password.
    pub password: bool,
    /// The program, for another version than the machine's.
    pub program: PathBuf,
    /// Further OpenVPN options: `["--reneg-sec", "5"]`. They override the file's.
    pub extra: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            transport: Transport::Tcp,
            password: true,
            program: std::env::var_os("WARDEN_TEST_OPENVPN")
                .unwrap_or_else(|| "openvpn".into())
                .into(),
            extra: Vec::new(),
        }
    }
}

impl ServerOptions {
    /// The program's version: `(2, 6)`.
    #[track_caller]
    pub fn version(&self) -> (u32, u32) {
        let mut command = std::process::Command::new(&self.program);
        let output = must(command.arg("--version").output(), "ask for the version");
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(1).and_then(|version| {
            let mut numbers = version.split(['.', '_']).map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        must(version.ok_or(text), "read the version")
    }
}

/// Turns `&["--verb", "4"]` into what the `extra` fields hold.
pub fn arguments(list: &[&str]) -> Vec<String> {
    list.iter().map(|&argument| argument.to_owned()).collect()
}

/// A running OpenVPN server.
pub struct Server {
    process: Process,
    namespace: Namespace,
    dir: Scratch,
    index: u8,
    options: ServerOptions,
}

impl Server {
    #[track_caller]
    pub(super) fn start(
        scratch: &Scratch,
        namespace: &Namespace,
        index: u8,
        options: ServerOptions,
    ) -> Self {
        let dir = scratch.path();
        let password = dir.join("management.pw");
        must(fs::write(&password, "management secret\n"), "write the management password");
        must(
            fs::set_permissions(&password, fs::Permissions::from_mode(0o600)),
            "protect the management password",
        );
        // Options in a file can be overridden later, but a password cannot be taken away again.
        let text = must(
            fs::read_to_string(super::repository("conf/openvpn-server.conf")),
            "read the server's file",
        );
        let lines = text.lines().filter(|line| !line.starts_with("management "));
        let config = dir.join(format!("server-{index}.conf"));
        must(fs::write(&config, lines.collect::<Vec<_>>().join("\n")), "write the server's file");

        let process = Self::spawn(dir, namespace, index, &options);
        let mut server = Self {
            process,
            namespace: namespace.share(),
            dir: Arc::clone(scratch),
            index,
            options,
        };
        server.wait_for_management(0);
        server
    }

    fn spawn(dir: &Path, namespace: &Namespace, index: u8, options: &ServerOptions) -> Process {
        let mut command = namespace.command(&options.program);
        command.arg("--cd").arg(dir).arg("--config").arg(dir.join(format!("server-{index}.conf")));
        command.args(["--port", &(1194 + u16::from(index)).to_string()]);
        command.args(["--server", &format!("10.8.{index}.0"), "255.255.255.0"]);
        match options.transport {
            Transport::Tcp => command.args(["--management", "127.0.0.1", &management_port(index)]),
            Transport::Unix => command.arg("--management").arg(socket(dir, index)).arg("unix"),
            Transport::DialsIn => command.arg("--management-client").args([
                "--management",
                "127.0.0.1",
                &management_port(index),
            ]),
        };
        if options.password {
            command.arg("management.pw");
        }
        command.args(&options.extra);
        Process::start(command, &dir.join(format!("server-{index}.log")), None)
    }

    #[track_caller]
    fn wait_for_management(&mut self, earlier: usize) {
        if self.options.transport == Transport::DialsIn {
            return;
        }
        let listening = wait_until(Duration::from_secs(10), || {
            if self.management_offers() > earlier {
                Some(true)
            } else {
                self.process.status().map(|_| false)
            }
        });
        assert_eq!(listening, Some(true), "OpenVPN did not start:\n{}", self.log());
    }

    /// How often its log, which outlives a restart, says that the management port is open.
    fn management_offers(&self) -> usize {
        let log = self.log();
        log.matches("MANAGEMENT: TCP Socket listening").count()
            + log.matches("MANAGEMENT: unix domain socket listening").count()
    }

    /// As in the daemon's configuration and its log lines: `udp-1194` and so on.
    pub fn name(&self) -> String {
        format!("udp-{}", 1194 + u16::from(self.index))
    }

    /// The address for `[[servers]] management`.
    pub fn management(&self) -> String {
        match self.options.transport {
            Transport::Tcp => format!("tcp://127.0.0.1:{}", management_port(self.index)),
            Transport::Unix => format!("unix://{}", socket(self.dir.path(), self.index).display()),
            Transport::DialsIn => format!("listen://127.0.0.1:{}", management_port(self.index)),
        }
    }

    /// Its `[[servers]]` section.
    pub fn toml(&self) -> String {
        let mut text = format!(
            "[[servers]]\nname = \"{}\"\nmanagement = \"{}\"\n",
            self.name(),
            self.management()
        );
        if self.options.password {
            text += &format!(
                "password_file = \"{}\"\n",
                self.dir.path().join("management.pw").display()
            );
        }
        text
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until its log holds `text`.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> bool {
        wait_until(timeout, || self.log().contains(text).then_some(())).is_some()
    }

    /// `"HUP"` or `"USR1"` restart it in place: client ids begin at 0 again on the same socket.
    #[track_caller]
    pub fn signal(&mut self, name: &str) {
        self.process.signal(name);
    }

    /// As a power cut would: clients and the daemon are told nothing.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn is_running(&mut self) -> bool {
        self.process.status().is_none()
    }

    /// Starts it again after [`Self::kill`], on the same addresses and log.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.process.kill();
        let earlier = self.management_offers();
        self.process = Self::spawn(self.dir.path(), &self.namespace, self.index, &self.options);
        self.wait_for_management(earlier);
    }

    /// As [`ServerOptions::version`].
    #[track_caller]
    pub fn version(&self) -> (u32, u32) {
        self.options.version()
    }

    fn tunnel_address(&self) -> String {
        format!("10.8.{}.1", self.index)
    }
}

fn management_port(index: u8) -> String {
    (7505 + u16::from(index)).to_string()
}

fn socket(dir: &Path, index: u8) -> PathBuf {
    dir.join(format!("management-{index}.sock"))
}

#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub user: String,
    pub password: String,
    /// `UV_CLIENT_MAC`, as text that need not be a MAC.
    pub mac: Option<String>,
    pub push_peer_info: bool,
    /// A tun device in a namespace of its own. Otherwise `dev null`: it logs in, but carries nothing.
    pub real_tun: bool,
    /// A namespace, and so an address and a default route's MAC, of its own even without a tun device.
    pub own_address: bool,
    /// The certificate's common name. Each client has its own unless this says otherwise: one that is let
    /// in ends every other of its name, also those that were refused and have not been told yet.
    pub certificate: Option<String>,
    pub program: PathBuf,
    /// Further OpenVPN options; they override the file's.
    pub extra: Vec<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            user: "alice".into(),
            password: super::PASSWORD.into(),
            mac: Some(super::MAC.into()),
            push_peer_info: true,
            real_tun: false,
            own_address: false,
            certificate: None,
            program: std::env::var_os("WARDEN_TEST_OPENVPN_CLIENT")
                .unwrap_or_else(|| "openvpn".into())
                .into(),
            extra: Vec::new(),
        }
    }
}

/// A running, or finished, OpenVPN client.
pub struct Client {
    process: Process,
    namespace: Namespace,
    namespace_index: u8,
    server_tunnel_address: String,
    _dir: Scratch,
}

impl Client {
    #[track_caller]
    pub(super) fn start(
        scratch: &Scratch,
        namespace: Namespace,
        namespace_index: u8,
        number: u32,
        server: &Server,
        options: ClientOptions,
    ) -> Self {
        let dir = scratch.path();
        let login = dir.join(format!("client-{number}.login"));
        must(
            fs::write(&login, format!("{}\n{}\n", options.user, options.password)),
            "write the login",
        );
        must(fs::set_permissions(&login, fs::Permissions::from_mode(0o600)), "protect the login");

        let text = must(
            fs::read_to_string(super::repository("conf/client.ovpn")),
            "read the client's file",
        );
        // What no later option can take back is left out here.
        let omitted = |line: &str| {
            line.starts_with("remote ")
                || line.starts_with("setenv UV_CLIENT_MAC")
                || (!options.push_peer_info && line.starts_with("push-peer-info"))
        };
        let lines: Vec<&str> = text.lines().filter(|line| !omitted(line)).collect();
        let config = dir.join(format!("client-{number}.ovpn"));
        must(fs::write(&config, lines.join("\n")), "write the client's file");

        let mut command = namespace.command(&options.program);
        command
            .arg("--cd")
            .arg(dir)
            .arg("--config")
            .arg(&config)
            .arg("--auth-user-pass")
            .arg(&login);
        let port = (1194 + u16::from(server.index)).to_string();
        command.args(["--remote", &format!("198.18.{namespace_index}.1"), &port, "udp"]);
        let name = options.certificate.unwrap_or_else(|| format!("client-{number}"));
        super::make_pki(dir, &name);
        command.args(["--cert", &format!("{name}.crt"), "--key", &format!("{name}.key")]);
        if let Some(mac) = &options.mac {
            command.args(["--setenv", "UV_CLIENT_MAC", mac]);
        }
        if !options.real_tun {
            command.args(["--dev", "null", "--ifconfig-noexec", "--route-noexec"]);
        }
        command.args(&options.extra);
        let process = Process::start(command, &dir.join(format!("client-{number}.log")), None);
        Self {
            process,
            namespace,
            namespace_index,
            server_tunnel_address: server.tunnel_address(),
            _dir: Arc::clone(scratch),
        }
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until its log holds `text`; `false` also when it ended without.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> bool {
        wait_until(timeout, || {
            let ended = self.process.status().is_some(); // asked first: the log is complete then
            if self.process.log().contains(text) { Some(true) } else { ended.then_some(false) }
        })
        .unwrap_or(false)
    }

    /// Waits until the tunnel is up.
    pub fn connected(&mut self, timeout: Duration) -> bool {
        self.wait_for("Initialization Sequence Completed", timeout)
    }

    /// What the server's last refusal said to the client, without `AUTH_FAILED` and the comma after it.
    pub fn refusal(&self) -> Option<String> {
        let log = self.log();
        let (_, text) = log.rsplit_once("AUTH: Received control message: AUTH_FAILED")?;
        let line = text.lines().next().unwrap_or_default();
        Some(line.strip_prefix(',').unwrap_or(line).to_owned())
    }

    /// Waits for a refusal and the client's end, and returns the text.
    ///
    /// # Panics
    /// With its log, if it was let in, or was not refused in time.
    #[track_caller]
    pub fn refused(&mut self, timeout: Duration) -> String {
        let ended = self.wait_exit(timeout).is_some();
        match self.refusal() {
            Some(text) if ended && !self.log().contains("Initialization Sequence Completed") => {
                text
            }
            _ => panic!("the client was not refused (ended: {ended}):\n{}", self.log()),
        }
    }

    /// Its exit status, once it has ended.
    pub fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        self.process.wait_exit(timeout)
    }

    pub fn is_running(&mut self) -> bool {
        self.process.status().is_none()
    }

    /// How many of `count` pings came back through the tunnel.
    pub fn ping(&self, count: u32) -> u32 {
        self.namespace.ping(&self.server_tunnel_address, count)
    }

    /// The address the server sees.
    pub fn address(&self) -> String {
        format!("198.18.{}.2", self.namespace_index)
    }

    /// The MAC of its default route, which it sends as `IV_HWADDR`.
    pub fn hardware_address(&self) -> String {
        net::hardware_address(self.namespace_index)
    }

    /// Cuts or mends its network, for clients with a namespace of their own.
    #[track_caller]
    pub fn set_link(&self, up: bool) {
        assert_ne!(self.namespace_index, 0, "this client shares its network: set own_address");
        self.namespace.set_link(up);
    }

    /// `"TERM"` leaves politely, `"USR1"` reconnects.
    #[track_caller]
    pub fn signal(&mut self, name: &str) {
        self.process.signal(name);
    }

    /// Vanishes without a word.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
