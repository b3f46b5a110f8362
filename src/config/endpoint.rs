//! The URL of a management interface.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// Longest path of a unix socket, in bytes (`sun_path` of Linux, without its final NUL).
const MAX_SOCKET_PATH: usize = 107;

/// Where a management interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp://host:port`; host may be a name.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:///path`.
    Unix(PathBuf),
    /// `listen://address:port`: OpenVPN dials in (`management-client`).
    Listen(SocketAddr),
}

impl Endpoint {
    /// Reads the URL; the error says what to write.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        const FORMS: &str = "use tcp://host:port, unix:///path or listen://address:port";
        if let Some(path) = url.strip_prefix("unix://") {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(
                    "a unix socket needs an absolute path, as unix:///run/openvpn/udp.sock".into(),
                );
            }
            if path.len() > MAX_SOCKET_PATH {
                return Err(format!(
                    "the path of a unix socket is at most {MAX_SOCKET_PATH} bytes"
                ));
            }
            return Ok(Self::Unix(path.into()));
        }
        if let Some(address) = url.strip_prefix("listen://") {
            return match address.parse::<SocketAddr>() {
                Ok(address) if address.port() != 0 => Ok(Self::Listen(address)),
                _ => Err("no address and port to listen on; use listen://127.0.0.1:7600 (IPv6 in \
                          brackets)"
                    .into()),
            };
        }
        let Some(rest) = url.strip_prefix("tcp://") else {
            return Err(format!("not the address of a management interface; {FORMS}"));
        };
        let bad = |what: &str| format!("{what}; use tcp://host:port, as tcp://127.0.0.1:7505");
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(|| bad("no port after the address"))?,
            None => rest.rsplit_once(':').ok_or_else(|| bad("no port"))?,
        };
        let is_v6 = rest.starts_with('[');
        let is_good = if is_v6 {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if !is_good {
            return Err(bad("no host name or address (IPv6 in brackets)"));
        }
        let port = port.parse().ok().filter(|port| *port != 0);
        let port: u16 = port.ok_or_else(|| bad("the port is no number of 1 to 65535"))?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// As the configuration writes it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Listen(address) => write!(f, "listen://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_sockets_are_read_and_written_alike() {
        for url in [
            "tcp://127.0.0.1:7505",
            "tcp://vpn-1.example.net:7505",
            "tcp://[::1]:7505",
            "unix:///run/openvpn/udp.sock",
            "listen://127.0.0.1:7600",
            "listen://[::1]:7600",
        ] {
            assert_eq!(Endpoint::parse(url).map(|e| e.to_string()), Ok(url.into()));
        }
    }

    #[test]
    fn everything_else_is_told_what_to_write() {
        for url in [
            "",
            "127.0.0.1:7505",
            "tcp://127.0.0.1",
            "tcp://:7505",
            "tcp://host:0",
            "tcp://host:65536",
            "tcp://host:7505/",
            "tcp://::1:7505",
            "tcp://[::1]",
            "tcp://[x]:1",
            "tcp://user@host:1",
            "unix://relative.sock",
            "unix://",
            "http://host:1",
            "listen://7600",
            "listen://localhost:7600",
            "listen://127.0.0.1:0",
            "listen:///run/x.sock",
        ] {
            let problem = Endpoint::parse(url).unwrap_err();
            assert!(problem.contains("://"), "{url}: {problem}");
        }
        assert!(Endpoint::parse(&format!("unix:///{}", "x".repeat(200))).is_err());
    }
}
