//! The daemon as systemd runs it: readiness, watchdog, reload, stop.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// A daemon whose server is not there, told to talk to a socket of ours.
struct Service {
    folder: TempDir,
    socket: UnixDatagram,
    child: Child,
}

impl Service {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        Self::configure(&folder, "info");
        let socket = UnixDatagram::bind(path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // As systemd does it, the process's own id is in its environment.
        let child = Command::new("sh")
            .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_ovpn-warden"))
            .arg("-c")
            .arg(path("config.toml"))
            .arg("run")
            .env("NOTIFY_SOCKET", path("notify"))
            .env("WATCHDOG_USEC", "400000")
            .stdout(Stdio::from(fs::File::create(path("log")).unwrap()))
            .spawn()
            .unwrap();
        Self { folder, socket, child }
    }

    fn configure(folder: &TempDir, level: &str) {
        let text = format!(
            "[database]\nurl = \"sqlite://{}\"\n[auth]\nargon2_m_kib = 8\nargon2_t = 1\n[log]\nlevel = \"{level}\"\n\
             [journal]\npath = \"\"\n[http]\nlisten = \"\"\n[[servers]]\nname = \"udp\"\nmanagement = \"unix:///nonexistent/socket\"\n",
            folder.path().join("warden.db").display()
        );
        fs::write(folder.path().join("config.toml"), text).unwrap();
    }

    /// What it tells systemd next.
    fn told(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until the log has a line with this text.
    fn logs(&self, text: &str) -> bool {
        for _ in 0..200 {
            if fs::read_to_string(self.folder.path().join("log")).unwrap().contains(text) {
                return true;
            }
            // Watchdog messages come every 200 ms: they are the clock here.
            self.told();
        }
        false
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn systemd_is_told_of_readiness_life_and_end() {
    let mut service = Service::start();
    assert_eq!(service.told(), "READY=1");
    assert_eq!(service.told(), "WATCHDOG=1");
    assert_eq!(service.told(), "WATCHDOG=1");
    service.signal("TERM");
    while service.told() != "STOPPING=1" {}
    assert!(service.child.wait().unwrap().success());
    let log = fs::read_to_string(service.folder.path().join("log")).unwrap();
    assert!(log.contains("\"event\":\"daemon.stopping\""), "{log}");
}

#[test]
fn a_hangup_reads_the_level_anew_and_an_invalid_configuration_changes_nothing() {
    let service = Service::start();
    assert_eq!(service.told(), "READY=1");
    Service::configure(&service.folder, "debug");
    service.signal("HUP");
    assert!(service.logs("\"event\":\"config.reloaded\""));
    assert!(service.logs("\"level\":\"debug\""), "lines of the new level appear");
    Service::configure(&service.folder, "loud");
    service.signal("HUP");
    assert!(service.logs("\"event\":\"config.rejected\""));
    assert_eq!(service.told(), "WATCHDOG=1", "it goes on");
}
