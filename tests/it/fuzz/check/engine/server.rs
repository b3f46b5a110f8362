//! A server that says what a script wants, and otherwise answers as OpenVPN does.

use std::collections::{BTreeMap, VecDeque};

use ovpn_warden::proto::Command;

/// What clients call themselves.
const USERS: [&[u8]; 6] =
    [b"alice", b"bob", b"", &[b'n'; 300], b"\xFF\xFEcarol", b"dave \"x\" \\ 'y' # ; \x07"];

pub(super) struct Server {
    /// When its run began.
    pub(super) run: i64,
    /// Its management version.
    version: u8,
    /// Commands without their answers, oldest first.
    commands: VecDeque<Command>,
    /// What comes after the password.
    later: Option<Vec<u8>>,
    clients: BTreeMap<u32, Client>,
}

struct Client {
    user: usize,
    is_approved: bool,
}

impl Server {
    pub(super) fn new(run: i64) -> Self {
        Self { run, version: 5, commands: VecDeque::new(), later: None, clients: BTreeMap::new() }
    }

    pub(super) fn greeting(&self, with_password: bool) -> Vec<u8> {
        if with_password {
            return b"ENTER PASSWORD:".to_vec();
        }
        let version = self.version;
        format!(
            ">INFO:OpenVPN Management Interface Version {version} -- type 'help' for more info\r\n"
        )
        .into_bytes()
    }

    /// 2.6, 2.5, 2.4 or 2.7.
    pub(super) fn set_version(&mut self, which: u8) {
        self.version = [5, 3, 1, 6][usize::from(which % 4)];
    }

    pub(super) fn say_later(&mut self, greeting: Vec<u8>) {
        self.later = Some([&b"SUCCESS: password is correct\r\n"[..], &greeting].concat());
    }

    pub(super) fn asked(&mut self, command: Command) {
        if let Command::ClientAuth { cid, .. } = &command
            && let Some(client) = self.clients.get_mut(&cid.0)
        {
            client.is_approved = true;
        }
        self.commands.push_back(command);
    }

    pub(super) fn forget_commands(&mut self) {
        self.commands.clear();
        self.later = None;
    }

    pub(super) fn owes_an_answer(&self) -> bool {
        self.later.is_some() || !self.commands.is_empty()
    }

    pub(super) fn answer(&mut self) -> Option<Vec<u8>> {
        if let Some(greeting) = self.later.take() {
            return Some(greeting);
        }
        let said = match self.commands.pop_front()? {
            Command::Version => {
                let version = self.version;
                format!("OpenVPN Version: OpenVPN\r\nManagement Version: {version}\r\nEND\r\n")
            }
            Command::State => {
                format!("{},CONNECTED,SUCCESS,10.8.0.1,,,,\r\nEND\r\n", self.run)
            }
            Command::Status => return Some(self.list()),
            // A tool's question: a list, or one line.
            Command::Relayed(command) if command.is_list() => "whatever\r\nEND\r\n".to_owned(),
            Command::Relayed(_) => "SUCCESS: done\r\n".to_owned(),
            Command::Password(_)
            | Command::EnvFilterOff
            | Command::StateOn
            | Command::ByteCount(_)
            | Command::HoldRelease
            | Command::Log(_)
            | Command::ClientAuth { .. }
            | Command::ClientAuthNt { .. }
            | Command::ClientPendingAuth { .. }
            | Command::ClientDeny { .. }
            | Command::ClientKill { .. } => "SUCCESS: done\r\n".to_owned(),
        };
        Some(said.into_bytes())
    }

    fn list(&self) -> Vec<u8> {
        let mut said = b"TITLE\tOpenVPN 2.6.14\r\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\t\
            Virtual Address\tVirtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\t\
            Connected Since (time_t)\tUsername\tClient ID\tPeer ID\tData Channel Cipher\r\n"
            .to_vec();
        for (cid, client) in &self.clients {
            let address = if client.is_approved { "10.8.0.6" } else { "" };
            said.extend(b"CLIENT_LIST\tcn\t192.0.2.9:40001\t");
            said.extend(format!("{address}\t\t500\t600\tx\t{}\t", self.run).bytes());
            said.extend(match USERS[client.user] {
                b"" => b"UNDEF",
                user => user,
            });
            said.extend(format!("\t{cid}\t0\tAES-256-GCM\r\n").bytes());
        }
        said.extend(b"END\r\n");
        said
    }

    /// `ids`: cid, kid. `who`: user, what the client says beside.
    pub(super) fn connect(&mut self, ids: u8, who: u8) -> Vec<u8> {
        let user = usize::from(who & 15) % USERS.len();
        self.clients.insert(u32::from(ids & 7), Client { user, is_approved: false });
        block("CONNECT", ids, who)
    }

    pub(super) fn reauth(&mut self, ids: u8, who: u8) -> Vec<u8> {
        let user = usize::from(who & 15) % USERS.len();
        self.clients.entry(u32::from(ids & 7)).or_insert(Client { user, is_approved: true });
        block("REAUTH", ids, who)
    }

    pub(super) fn established(&mut self, cid: u8) -> Vec<u8> {
        format!(
            ">CLIENT:ESTABLISHED,{}\r\n>CLIENT:ENV,ifconfig_pool_remote_ip=10.8.0.6\r\n\
             >CLIENT:ENV,END\r\n",
            cid & 7
        )
        .into_bytes()
    }

    pub(super) fn disconnect(&mut self, how: u8) -> Vec<u8> {
        self.clients.remove(&u32::from(how & 7));
        let counts = if how & 8 == 0 { "" } else { ">CLIENT:ENV,bytes_received=9000\r\n" };
        format!(">CLIENT:DISCONNECT,{}\r\n{counts}>CLIENT:ENV,END\r\n", how & 7).into_bytes()
    }

    pub(super) fn address(how: u8) -> Vec<u8> {
        format!(">CLIENT:ADDRESS,{},10.8.0.{how},{}\r\n", how & 7, how >> 3 & 1).into_bytes()
    }

    pub(super) fn byte_count(cid: u8, count: u8) -> Vec<u8> {
        let count = u32::from(count) * 1_000;
        format!(">BYTECOUNT_CLI:{},{count},{count}\r\n", cid & 7).into_bytes()
    }

    /// The server starts again: `how & 1` without saying who leaves, `how & 2` without the
    /// state after it, `how & 4` without any word at all.
    pub(super) fn restart(&mut self, how: u8) -> Vec<u8> {
        let mut said = String::new();
        for cid in std::mem::take(&mut self.clients).into_keys() {
            if how & 1 == 0 {
                said += &format!(">CLIENT:DISCONNECT,{cid}\r\n>CLIENT:ENV,END\r\n");
            }
        }
        said += &format!(">STATE:{},RECONNECTING,SIGUSR1,,,,,\r\n", self.run + 1);
        self.run += 1 + i64::from(how >> 3);
        if how & 2 == 0 {
            said += &format!(">STATE:{},CONNECTED,SUCCESS,10.8.0.1,,,,\r\n", self.run);
        }
        if how & 4 == 0 { said.into_bytes() } else { Vec::new() }
    }
}

fn block(event: &str, ids: u8, who: u8) -> Vec<u8> {
    let (cid, kid) = (ids & 7, ids >> 3 & 7);
    let mut said = format!(">CLIENT:{event},{cid},{kid}\r\n").into_bytes();
    let mut variable = |name: &str, value: &[u8]| {
        said.extend([b">CLIENT:ENV,", name.as_bytes(), b"=", value, b"\r\n"].concat());
    };
    let user = USERS[usize::from(who & 15) % USERS.len()];
    variable("username", user);
    variable("password", b"pw");
    variable("untrusted_ip", b"192.0.2.9");
    if who & 16 != 0 {
        variable("IV_PROTO", b"990");
    }
    if who & 32 != 0 {
        // Forged: the block is refused.
        variable("username", b"root");
    }
    if who & 64 != 0 {
        variable("UV_CLIENT_MAC", b"02:1a:2b:3c:4d:5e");
    }
    if who & 128 != 0 {
        variable("IV_SSO", b"webauth,crtext");
    }
    if event == "REAUTH" {
        variable("time_unix", b"1795435050");
        variable("ifconfig_pool_remote_ip", b"10.8.0.6");
    }
    said.extend(b">CLIENT:ENV,END\r\n");
    said
}
