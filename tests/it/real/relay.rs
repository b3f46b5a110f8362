//! Other tools at the relay of a real OpenVPN, beside the daemon.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use super::{SOON, Site};
use crate::lab::{Backend, ClientOptions, Lab, MAC, PASSWORD, ServerOptions};

/// A client that speaks the management protocol by itself.
struct Raw(BufReader<UnixStream>);

impl Raw {
    fn new(path: &Path) -> Self {
        let stream = crate::lab::wait_until(SOON, || UnixStream::connect(path).ok());
        let stream = stream.expect("the relay listens");
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Self(BufReader::new(stream));
        assert!(raw.line().starts_with(">INFO:OpenVPN Management Interface Version"));
        raw
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.0.get_mut(), "{command}").unwrap();
        // Notifications come in between, as they do from OpenVPN.
        loop {
            let line = self.line();
            if !line.starts_with('>') {
                return line;
            }
        }
    }

    fn list(&mut self, command: &str) -> Vec<String> {
        let mut lines = vec![self.ask(command)];
        while lines.last().is_some_and(|line| line != "END") {
            lines.push(self.line());
        }
        lines
    }

    /// The next line that contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }
}

fn site(test: &str) -> Option<(Site, PathBuf)> {
    let lab = Lab::new(test)?;
    let (database, server) = (lab.database(Backend::Sqlite), lab.server(ServerOptions::default()));
    let path = lab.path().join("relay.sock");
    let relay = format!("[[servers]]\nrelay = \"unix://{}\"\n", path.display());
    let config = lab.config(&database, &[&server], "").replacen("[[servers]]\n", &relay, 1);
    let mut warden = lab.warden(&config);
    warden.ok(&["migrate"], "");
    warden.ok(&["user", "add", "alice", "--password-stdin"], PASSWORD);
    warden.ok(&["device", "add", "alice", MAC], "");
    warden.start();
    warden.wait_event("link.up", |_| true, SOON);
    assert!(server.wait_for("Initialization Sequence Completed", SOON), "{}", server.log());
    Some((Site { lab, database, server, warden }, path))
}

#[test]
fn two_raw_clients_watch_while_the_daemon_decides() {
    let Some((site, path)) = site("relay") else { return };
    let (mut one, mut two) = (Raw::new(&path), Raw::new(&path));
    assert!(one.ask("state on").starts_with("SUCCESS:"));
    let mut alice = site.connected(ClientOptions::default());
    let connect = two.wait_for(">CLIENT:CONNECT,");
    assert!(connect.starts_with(">CLIENT:CONNECT,0,"), "{connect}");
    let mut block = Vec::new();
    while block.last().is_none_or(|line| line != ">CLIENT:ENV,END") {
        block.push(two.line());
    }
    assert!(block.iter().any(|line| line == ">CLIENT:ENV,username=alice"), "{block:?}");
    assert!(block.iter().all(|line| !line.contains(PASSWORD)), "{block:?}");
    two.wait_for(">CLIENT:ESTABLISHED,0");
    for raw in [&mut one, &mut two] {
        let list = raw.list("status 3");
        assert!(list.iter().any(|line| line.contains("\talice\t")), "{list:?}");
        assert!(raw.ask("load-stats").starts_with("SUCCESS: nclients=1"));
        for forbidden in ["client-kill 0", "signal SIGTERM", "hold off", "kill client-0"] {
            assert!(raw.ask(forbidden).starts_with("ERROR:"), "{forbidden}");
        }
    }
    assert!(alice.is_running());
    // What one of them does or leaves undone, the daemon goes on deciding.
    drop(one);
    let wrong = ClientOptions { password: "wrong".into(), ..Default::default() };
    site.client(wrong).refused(SOON);
    site.warden.wait_event("auth.denied", |_| true, SOON);
    assert!(site.warden.events().iter().all(|event| event["event"] != "link.lost"));
}

#[test]
#[ignore = "fetches openvpn-monitor from PyPI: make test-monitor"]
fn openvpn_monitor_shows_the_clients() {
    let python = std::env::var_os("WARDEN_TEST_MONITOR").expect("make test-monitor sets it");
    let Some((site, path)) = site("openvpn-monitor") else { return };
    let _alice = site.connected(ClientOptions::default());
    site.warden.wait_event("session.opened", |_| true, SOON);
    let script = "import sys, openvpn_monitor, os\n\
        sys.path.insert(0, os.path.dirname(openvpn_monitor.__file__))\n\
        from vpns.openvpn.data_collector import VPNDataCollector\n\
        vpn = {'name': 'lab', 'socket': sys.argv[1], 'show_disconnect': True}\n\
        VPNDataCollector({'VPN1': vpn}, None)\n\
        print(vpn['release'], vpn['state']['connected'], vpn['stats']['nclients'])\n\
        print([session['username'] for session in vpn['sessions'].values()])\n";
    for _ in 0..3 {
        let output = Command::new(&python).arg("-c").arg(script).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("CONNECTED 1\n['alice']"), "{said}");
    }
    assert!(site.warden.events().iter().all(|event| event["event"] != "link.lost"));
}
