//! The words of OpenVPN 2.6, taken from a recording and said for other clients.
//!
//! A block is the recorded one, octet by octet, but for what belongs to its client: ids, names,
//! addresses, password, times and counters.

use std::io::Write as _;

/// A whole connection of one client with OpenVPN 2.6.22.
const RECORDING: &str = include_str!("../../tests/data/transcripts/openvpn-2.6.22.txt");

/// The greeting and the replies to what a controller sends when it attaches.
pub const INFO: &str =
    ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n";
pub const VERSION: &str = "OpenVPN Version: OpenVPN 2.6.22 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] \
     [EPOLL] [PKCS11] [MH/PKTINFO] [AEAD]\r\nManagement Version: 5\r\nEND\r\n";
pub const STATUS_HEADER: &str = "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\t\
     Virtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\t\
     Username\tClient ID\tPeer ID\tData Channel Cipher\r\n";
pub const ROUTING_HEADER: &str = "HEADER\tROUTING_TABLE\tVirtual Address\tCommon Name\tReal Address\tLast Ref\tLast Ref (time_t)\r\n";
pub const STATUS_END: &str =
    "GLOBAL_STATS\tMax bcast/mcast queue length\t0\r\nGLOBAL_STATS\tdco_enabled\t0\r\nEND\r\n";

/// What differs from client to client.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub cid: u32,
    pub kid: u32,
    pub user: &'a str,
    pub password: &'a str,
    pub mac: &'a str,
    pub ip: &'a str,
    pub port: u16,
    pub vpn_ip: &'a str,
    /// When it connected, Unix time.
    pub since: i64,
    /// The same, as OpenVPN prints it.
    pub since_text: &'a str,
    pub duration: u64,
    pub received: u64,
    pub sent: u64,
    /// How many are connected.
    pub clients: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Cid,
    Kid,
    User,
    Password,
    Mac,
    Ip,
    Port,
    VpnIp,
    Since,
    SinceText,
    Duration,
    Received,
    Sent,
    Clients,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A recorded block with gaps.
#[derive(Debug)]
pub struct Block(Vec<Piece>);

/// Everything that a client makes its server say.
#[derive(Debug)]
pub struct Script {
    pub connect: Block,
    pub reauth: Block,
    pub established: Block,
    pub disconnect: Block,
}

impl Script {
    /// From the recording, which is compiled in.
    pub fn new() -> Self {
        let of = |head: &str, wanted: &str| {
            let lines = recorded(head, wanted);
            assert!(!lines.is_empty(), "no {head} in the recording");
            Block::new(&lines)
        };
        Self {
            connect: of(">CLIENT:CONNECT,", "username"),
            reauth: of(">CLIENT:REAUTH,", "username"),
            established: of(">CLIENT:ESTABLISHED,", "username"),
            disconnect: of(">CLIENT:DISCONNECT,", "time_duration"),
        }
    }
}

/// The first recorded block that begins so and has this variable; other lines in between are left out.
pub fn recorded(head: &str, wanted: &str) -> Vec<&'static str> {
    let mut block: Vec<&str> = Vec::new();
    for line in RECORDING.lines().filter_map(|line| line.strip_prefix("S: ")) {
        if line.starts_with(head) {
            block = vec![line];
        } else if line.starts_with(">CLIENT:ENV,") && !block.is_empty() {
            block.push(line);
            if line == ">CLIENT:ENV,END" {
                let has = |line: &&str| line.starts_with(&format!(">CLIENT:ENV,{wanted}="));
                if block.iter().any(has) {
                    return block;
                }
                block.clear();
            }
        }
    }
    Vec::new()
}

impl Block {
    fn new(lines: &[&str]) -> Self {
        let mut pieces = Vec::new();
        for line in lines {
            match line.strip_prefix(">CLIENT:ENV,").and_then(|rest| rest.split_once('=')) {
                Some((name, value)) => {
                    let (fixed, field) = match field(name) {
                        Some((prefix, field)) => (prefix, Some(field)),
                        None => (value, None),
                    };
                    push(&mut pieces, &format!(">CLIENT:ENV,{name}={fixed}"));
                    pieces.extend(field.map(Piece::Field));
                }
                None if *line == ">CLIENT:ENV,END" => push(&mut pieces, line),
                None => {
                    let mut parts = line.splitn(3, ',');
                    push(&mut pieces, &format!("{},", parts.next().unwrap_or("")));
                    pieces.push(Piece::Field(Field::Cid));
                    if parts.nth(1).is_some() {
                        push(&mut pieces, ",");
                        pieces.push(Piece::Field(Field::Kid));
                    }
                }
            }
            push(&mut pieces, "\r\n");
        }
        Self(pieces)
    }

    /// Says it for one client.
    pub fn say(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            let done = match piece {
                Piece::Text(text) => out.write_all(text.as_bytes()),
                Piece::Field(field) => match field {
                    Field::Cid => write!(out, "{}", facts.cid),
                    Field::Kid => write!(out, "{}", facts.kid),
                    Field::User => out.write_all(facts.user.as_bytes()),
                    Field::Password => out.write_all(facts.password.as_bytes()),
                    Field::Mac => out.write_all(facts.mac.as_bytes()),
                    Field::Ip => out.write_all(facts.ip.as_bytes()),
                    Field::Port => write!(out, "{}", facts.port),
                    Field::VpnIp => out.write_all(facts.vpn_ip.as_bytes()),
                    Field::Since => write!(out, "{}", facts.since),
                    Field::SinceText => out.write_all(facts.since_text.as_bytes()),
                    Field::Duration => write!(out, "{}", facts.duration),
                    Field::Received => write!(out, "{}", facts.received),
                    Field::Sent => write!(out, "{}", facts.sent),
                    Field::Clients => write!(out, "{}", facts.clients),
                },
            };
            // Memory takes everything.
            debug_assert!(done.is_ok());
        }
    }
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Which of a client's facts a variable holds, and what stands before it.
fn field(name: &str) -> Option<(&'static str, Field)> {
    Some(match name {
        "username" | "common_name" | "X509_0_CN" => ("", Field::User),
        "tls_id_0" => ("CN=", Field::User),
        "password" => ("", Field::Password),
        "UV_CLIENT_MAC" | "IV_HWADDR" => ("", Field::Mac),
        "untrusted_ip" | "trusted_ip" => ("", Field::Ip),
        "untrusted_port" | "trusted_port" => ("", Field::Port),
        "ifconfig_pool_remote_ip" => ("", Field::VpnIp),
        "time_unix" => ("", Field::Since),
        "time_ascii" => ("", Field::SinceText),
        "time_duration" => ("", Field::Duration),
        "bytes_received" => ("", Field::Received),
        "bytes_sent" => ("", Field::Sent),
        "n_clients" => ("", Field::Clients),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_for_the_recorded_client_a_block_is_the_recorded_one() {
        let script = Script::new();
        let facts = Facts {
            cid: 0,
            kid: 1,
            user: "alice",
            password: "pass \"w\\ord é",
            mac: "00:11:22:33:44:55",
            ip: "10.77.0.2",
            port: 56029,
            vpn_ip: "10.99.0.2",
            since: 1_795_435_004,
            since_text: "2026-11-23 11:56:44",
            duration: 21,
            received: 4_759,
            sent: 4_304,
            clients: 0,
        };
        let reauth = Facts { kid: 3, clients: 1, ..facts.clone() };
        let up = Facts { clients: 1, ..facts.clone() };
        for (block, head, key, facts) in [
            (&script.connect, ">CLIENT:CONNECT,", "username", &facts),
            (&script.reauth, ">CLIENT:REAUTH,", "username", &reauth),
            (&script.established, ">CLIENT:ESTABLISHED,", "username", &up),
            (&script.disconnect, ">CLIENT:DISCONNECT,", "time_duration", &facts),
        ] {
            let mut said = Vec::new();
            block.say(facts, &mut said);
            // The client's real card has another address than the one it claims.
            let wanted = (recorded(head, key).join("\r\n") + "\r\n")
                .replace("IV_HWADDR=56:cf:87:3b:64:3f", "IV_HWADDR=00:11:22:33:44:55");
            assert_eq!(String::from_utf8(said).unwrap(), wanted);
        }
    }
}
