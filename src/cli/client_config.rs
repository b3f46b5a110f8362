//! `user config` and `policy config`: what OpenVPN is told about a client beside the approval.

use std::{
    fs::File,
    io::{Read, stdin},
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use serde::Serialize;

use super::{Desk, exit::CliError, explain::known, output::View};
use crate::{
    auth::client_config::{Change, LineError, changed},
    config::Config,
    store::{ConfigOwner, NewLine, StoreError, StoredLine},
    types::{Printable, ServerName},
};

/// Most that a file of lines may hold, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// What to change; nothing shows what there is.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What is given here counts on this server only [default: on all]
    #[arg(long, value_name = "NAME")]
    server: Option<ServerName>,
    /// Remove all lines of that server, or those for all servers
    #[arg(long)]
    clear: bool,
    /// Remove a line, as it is shown
    #[arg(long, value_name = "LINE")]
    remove: Vec<String>,
    /// Add the lines of a file of `client-config-dir`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Add an option as OpenVPN reads it, as 'push "block-outside-dns"'
    #[arg(long, value_name = "LINE")]
    add: Vec<String>,
    /// A fixed address, as 10.8.0.5/24; of IPv6 with the server's, as fd00::5/64,fd00::1
    #[arg(long, value_name = "ADDRESS/BITS", value_parser = address)]
    address: Vec<String>,
    /// A network that the client reaches by the tunnel, as 10.1.0.0/16 or fd01::/48
    #[arg(long, value_name = "NETWORK/BITS", value_parser = route)]
    route: Vec<String>,
    /// A network behind the client, as 192.168.5.0/24
    #[arg(long, value_name = "NETWORK/BITS", value_parser = iroute)]
    iroute: Vec<String>,
    /// A name server for the client
    #[arg(long, value_name = "IP", value_parser = dns)]
    dns: Vec<String>,
    /// The domain of the client's names
    #[arg(long, value_name = "NAME", value_parser = domain)]
    domain: Vec<String>,
}

impl ConfigArgs {
    fn change(self) -> Result<Change, CliError> {
        let Self { server, clear, remove, file, add, address, route, iroute, dns, domain } = self;
        let from_file = file.as_deref().map(read).transpose()?.unwrap_or_default();
        let given = [from_file, add, address, route, iroute, dns, domain];
        Ok(Change { server, clear, remove, add: given.concat() })
    }
}

pub async fn execute(
    desk: &mut Desk,
    config: &Config,
    owner: ConfigOwner,
    args: ConfigArgs,
) -> Result<(), CliError> {
    let before = desk.store.client_config(&owner).await?;
    let change = args.change()?;
    if !change.clear && change.remove.is_empty() && change.add.is_empty() {
        let is_meant = |line: &&StoredLine| change.server.is_none() || line.server == change.server;
        let lines: Vec<_> = before.iter().filter(is_meant).map(LineView::from).collect();
        return desk.out.list(&lines);
    }
    // What is there may be taken away from a server that is not any more.
    if let Some(server) = change.server.as_ref().filter(|_| !change.add.is_empty()) {
        known(server, config)?;
    }
    let after =
        changed(&owner, &before, &change).map_err(|(text, error)| refused(&text, &error))?;
    desk.store.put_client_config(&owner, &before, &after, &desk.actor()).await.map_err(advise)?;
    let name = match &owner {
        ConfigOwner::User(name) => format!("user `{name}`"),
        ConfigOwner::Policy(name) => format!("policy `{name}`"),
    };
    let views: Vec<_> = after.iter().map(|NewLine { line, .. }| LineView::from(line)).collect();
    let message =
        format!("client configuration of {name} changed; it counts from the next login on");
    desk.out.done(&message, &views)
}

fn refused(text: &str, error: &LineError) -> CliError {
    let shown = Printable(text.trim().as_bytes());
    let refused = CliError::usage(format!("`{shown}`: {error}"));
    match error {
        LineError::Absent => refused.or_next("without changes the command shows what there is"),
        LineError::Line(_) | LineError::Elsewhere(..) | LineError::Own(_) | LineError::TooMany => {
            refused
        }
    }
}

fn advise(error: StoreError) -> CliError {
    match error {
        StoreError::InUse(_) => {
            CliError::failed("somebody else has just changed it").or_next("try again")
        }
        StoreError::Exists(what) => {
            CliError::failed(format!("{what} is taken")).or_next("give each user another address")
        }
        error @ (StoreError::Url(_)
        | StoreError::Unavailable(_)
        | StoreError::Refused(_)
        | StoreError::Schema(_)
        | StoreError::Corrupt(_)
        | StoreError::NotFound(_)
        | StoreError::Ended) => CliError::from(error),
    }
}

/// Lines of a file, without those that are empty or comments.
fn read(path: &Path) -> Result<Vec<String>, CliError> {
    let failed =
        |error: std::io::Error| CliError::failed(format!("reading {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(stdin()),
        // A look before opening: opening a pipe would wait for its writer.
        Some(_) | None if !std::fs::metadata(path).map_err(failed)?.is_file() => {
            return Err(CliError::usage(format!("{} is not a regular file", path.display()))
                .or_next("`--file -` reads standard input"));
        }
        Some(_) | None => Box::new(File::open(path).map_err(failed)?),
    };
    source.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_FILE);
    let text = text.ok_or_else(|| {
        let rule = "use UTF-8 of at most 64 KiB";
        CliError::usage(format!("{} is no text of options", path.display())).or_next(rule)
    })?;
    let is_option = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    Ok(text.lines().map(str::trim).filter(is_option).map(str::to_owned).collect())
}

/// An address with the length of its network.
fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let error = || "use an address and the length of its network, as 10.1.0.0/16".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(error)?;
    let address = IpAddr::from_str(address).map_err(|_| error())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(error)?;
    Ok((address, bits))
}

fn netmask(bits: u8) -> std::net::Ipv4Addr {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0).into()
}

fn address(text: &str) -> Result<String, String> {
    let (own, gateway) = text.split_once(',').map_or((text, None), |(a, g)| (a, Some(g)));
    match (network(own)?, gateway.map(IpAddr::from_str)) {
        ((IpAddr::V4(own), bits), None) => Ok(format!("ifconfig-push {own} {}", netmask(bits))),
        ((IpAddr::V6(own), bits), Some(Ok(IpAddr::V6(gateway)))) => {
            Ok(format!("ifconfig-ipv6-push {own}/{bits} {gateway}"))
        }
        _ => Err("use 10.8.0.5/24, or fd00::5/64,fd00::1 with the server's own address".into()),
    }
}

fn route(text: &str) -> Result<String, String> {
    Ok(match network(text)? {
        (IpAddr::V4(network), bits) => format!("push \"route {network} {}\"", netmask(bits)),
        (IpAddr::V6(network), bits) => format!("push \"route-ipv6 {network}/{bits}\""),
    })
}

fn iroute(text: &str) -> Result<String, String> {
    Ok(match network(text)? {
        (IpAddr::V4(network), bits) => format!("iroute {network} {}", netmask(bits)),
        (IpAddr::V6(network), bits) => format!("iroute-ipv6 {network}/{bits}"),
    })
}

fn dns(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(IpAddr::V4(server)) => Ok(format!("push \"dhcp-option DNS {server}\"")),
        Ok(IpAddr::V6(server)) => Ok(format!("push \"dhcp-option DNS6 {server}\"")),
        Err(_) => Err("use an IP address".into()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.len() {
        1..=200 if text.chars().all(is_plain) => Ok(format!("push \"dhcp-option DOMAIN {text}\"")),
        _ => Err("use letters, digits, `.`, `-` and `_`".into()),
    }
}

/// A line as it is shown.
#[derive(Serialize)]
pub struct LineView {
    server: Option<String>,
    line: String,
}

impl From<&StoredLine> for LineView {
    fn from(line: &StoredLine) -> Self {
        Self {
            server: line.server.as_ref().map(ServerName::to_string),
            line: line.text.to_string(),
        }
    }
}

impl LineView {
    /// For a list of details: with the server before it.
    pub fn shown(&self) -> String {
        match &self.server {
            None => self.line.clone(),
            Some(server) => format!("[{server}] {}", self.line),
        }
    }
}

impl View for LineView {
    const COLUMNS: &'static [&'static str] = &["SERVER", "LINE"];

    fn row(&self) -> Vec<String> {
        vec![self.server.clone().unwrap_or_else(|| "all".into()), self.line.clone()]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![("client", self.shown())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ConfigLine;

    #[test]
    fn what_is_given_shortly_comes_to_lines_that_openvpn_takes() {
        for (made, line) in [
            (address("10.8.0.5/24"), "ifconfig-push 10.8.0.5 255.255.255.0"),
            (address("fd00::5/64,fd00::1"), "ifconfig-ipv6-push fd00::5/64 fd00::1"),
            (route("10.1.0.0/16"), "push \"route 10.1.0.0 255.255.0.0\""),
            (route("10.1.2.3/32"), "push \"route 10.1.2.3 255.255.255.255\""),
            (route("fd01::/48"), "push \"route-ipv6 fd01::/48\""),
            (iroute("192.168.5.0/24"), "iroute 192.168.5.0 255.255.255.0"),
            (iroute("fd02::/64"), "iroute-ipv6 fd02::/64"),
            (dns("10.0.0.53"), "push \"dhcp-option DNS 10.0.0.53\""),
            (dns("fd00::53"), "push \"dhcp-option DNS6 fd00::53\""),
            (domain("corp.example"), "push \"dhcp-option DOMAIN corp.example\""),
        ] {
            assert_eq!(made.as_deref(), Ok(line));
            assert!(ConfigLine::parse(line).is_ok(), "{line}");
        }
        assert_eq!(netmask(0).to_string(), "0.0.0.0");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["10.8.0.5", "10.8.0.5/33", "10.8.0.5/24,10.8.0.1", "fd00::5/64", "x/24", "/"] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(route("10.1.0.0/-1").is_err() && dns("resolver").is_err());
        assert!(domain("a b").is_err() && domain("").is_err() && domain("a\"b").is_err());
    }
}
