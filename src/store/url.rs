//! The syntax of `database.url`: several hosts, and no part of it in an error.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// A database by its URL.
pub enum DatabaseUrl {
    Sqlite(SqliteUrl),
    MySql(Box<MySqlUrl>),
}

/// Where an SQLite database is.
#[derive(Debug, PartialEq, Eq)]
pub enum SqliteUrl {
    Memory,
    File(PathBuf),
}

/// How far the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

/// A MySQL or MariaDB database on one host or several.
pub struct MySqlUrl {
    pub hosts: Vec<(String, u16)>,
    pub user: String,
    pub password: Option<Zeroizing<String>>,
    pub database: String,
    pub socket: Option<String>,
    pub ssl_mode: Option<SslMode>,
    pub ssl_ca: Option<String>,
    pub ssl_cert: Option<String>,
    pub ssl_key: Option<String>,
}

impl MySqlUrl {
    /// The mode asked for; otherwise over a network the certificate has to be that of the host,
    /// and on this machine TLS is used where the server has it.
    pub fn ssl_mode_for(&self, host: &str) -> SslMode {
        let local = self.socket.is_some()
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match (self.ssl_mode, local) {
            (Some(mode), _) => mode,
            (None, false) => SslMode::VerifyIdentity,
            (None, true) if self.ssl_ca.is_some() => SslMode::VerifyCa,
            (None, true) => SslMode::Preferred,
        }
    }
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong, without any part of the URL that could be secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            return sqlite(rest).map(Self::Sqlite);
        }
        let rest = url
            .strip_prefix("mysql://")
            .or_else(|| url.strip_prefix("mariadb://"))
            .ok_or("it has to begin with sqlite:// or mysql://")?;
        mysql(rest).map(|url| Self::MySql(Box::new(url)))
    }
}

fn sqlite(rest: &str) -> Result<SqliteUrl, String> {
    if rest == ":memory:" {
        return Ok(SqliteUrl::Memory);
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains('?') {
        return Err("sqlite takes no parameters".into());
    }
    match decode(path)?.as_str() {
        "" | "/" => Err("it names no file: sqlite:///var/lib/ovpn-warden/warden.db".into()),
        path => Ok(SqliteUrl::File(path.into())),
    }
}

fn mysql(rest: &str) -> Result<MySqlUrl, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest
        .split_once('/')
        .filter(|(_, database)| !database.is_empty() && !database.contains('/'))
        .ok_or("it has to end with the name of one database: mysql://user@host/name")?;
    let (user, hosts) =
        authority.rsplit_once('@').ok_or("it names no user: mysql://user@host/name")?;
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(Zeroizing::new(decode(password)?))),
        None => (user, None),
    };
    let mut url = MySqlUrl {
        hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
        user: decode(user)?,
        password,
        database: decode(database)?,
        socket: None,
        ssl_mode: None,
        ssl_ca: None,
        ssl_cert: None,
        ssl_key: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match key {
            "socket" => url.socket = Some(value),
            "ssl-ca" => url.ssl_ca = Some(value),
            "ssl-cert" => url.ssl_cert = Some(value),
            "ssl-key" => url.ssl_key = Some(value),
            "ssl-mode" => url.ssl_mode = Some(ssl_mode(&value)?),
            _ => {
                return Err("it has an unknown parameter: there are socket, ssl-mode, ssl-ca, \
                            ssl-cert and ssl-key"
                    .into());
            }
        }
    }
    if url.user.is_empty() {
        return Err("it names no user: mysql://user@host/name".into());
    }
    if url.socket.is_some() && url.hosts.len() > 1 {
        return Err("a socket is on one host only".into());
    }
    if url.ssl_mode == Some(SslMode::VerifyCa) && url.ssl_ca.is_none() {
        return Err("ssl-mode=VERIFY_CA needs ssl-ca: without it, any certificate \
                    of any public authority would do"
            .into());
    }
    if url.ssl_cert.is_some() != url.ssl_key.is_some() {
        return Err("ssl-cert and ssl-key belong together".into());
    }
    Ok(url)
}

fn ssl_mode(text: &str) -> Result<SslMode, String> {
    Ok(match text.to_ascii_uppercase().replace('-', "_").as_str() {
        "DISABLED" => SslMode::Disabled,
        "PREFERRED" => SslMode::Preferred,
        "REQUIRED" => SslMode::Required,
        "VERIFY_CA" => SslMode::VerifyCa,
        "VERIFY_IDENTITY" => SslMode::VerifyIdentity,
        _ => {
            return Err("ssl-mode is one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA \
                        and VERIFY_IDENTITY"
                .into());
        }
    })
}

fn host(text: &str) -> Result<(String, u16), String> {
    let bad = || "a host is a name or an address, with a port if it is not 3306".to_owned();
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(bad)?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| bad())?,
        None if port.is_empty() => 3306,
        None => return Err(bad()),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad());
    }
    Ok((name.to_owned(), port))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let bad = || "a `%` has to be followed by two hexadecimal digits, as %40 for `@`".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(url: &str) -> Result<MySqlUrl, String> {
        match DatabaseUrl::parse(url)? {
            DatabaseUrl::MySql(url) => Ok(*url),
            DatabaseUrl::Sqlite(_) => Err("sqlite".into()),
        }
    }

    #[test]
    fn several_hosts_have_each_their_port() {
        let url = mysql("mysql://vpn:p%40s%3as@db1,db2:3307,[::1]:3308/warden").unwrap();
        let hosts: Vec<_> = url.hosts.iter().map(|(h, p)| (h.as_str(), *p)).collect();
        assert_eq!(hosts, [("db1", 3306), ("db2", 3307), ("::1", 3308)]);
        assert_eq!(url.password.as_ref().map(|p| p.as_str()), Some("p@s:s"));
        assert_eq!((url.user.as_str(), url.database.as_str()), ("vpn", "warden"));
    }

    #[test]
    fn over_a_network_the_certificate_is_checked_unless_it_is_said_otherwise() {
        let mode = |url: &str, host: &str| mysql(url).map(|url| url.ssl_mode_for(host));
        let plain = "mysql://u@db/w";
        assert_eq!(mode(plain, "db"), Ok(SslMode::VerifyIdentity));
        assert_eq!(mode(plain, "10.0.0.1"), Ok(SslMode::VerifyIdentity));
        assert_eq!(mode(plain, "127.8.0.1"), Ok(SslMode::Preferred));
        assert_eq!(mode(plain, "::1"), Ok(SslMode::Preferred));
        assert_eq!(mode("mysql://u@db/w?ssl-ca=/ca", "db"), Ok(SslMode::VerifyIdentity));
        assert_eq!(mode("mysql://u@db/w?ssl-ca=/ca", "localhost"), Ok(SslMode::VerifyCa));
        assert_eq!(mode("mysql://u@db/w?ssl-mode=required", "db"), Ok(SslMode::Required));
        assert_eq!(mode("mysql://u@db/w?socket=/run/s", "db"), Ok(SslMode::Preferred));
    }

    #[test]
    fn bad_urls_are_refused_without_repeating_them() {
        for url in [
            "postgres://canary@h/d",
            "mysql://u:canary@h",
            "mysql://u:canary@h/",
            "mysql://u:canary@h/a/b",
            "mysql://canary/d",
            "mysql://:canary@h/d",
            "mysql://u:%zzcanary@h/d",
            "mysql://u:canary@h:port/d",
            "mysql://u:canary@h,/d",
            "mysql://u:canary@h/d?sslmode=canary",
            "mysql://u:canary@h/d?ssl-mode=canary",
            "mysql://u:canary@h/d?ssl-mode=VERIFY_CA",
            "mysql://u:canary@h/d?ssl-cert=/c",
            "mysql://u:canary@a,b/d?socket=/s",
            "sqlite://",
            "sqlite:///x?mode=canary",
        ] {
            let error = DatabaseUrl::parse(url).err().unwrap_or_default();
            assert!(!error.is_empty(), "{url}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn sqlite_files_are_absolute_or_relative() {
        let path = |url: &str| match DatabaseUrl::parse(url) {
            Ok(DatabaseUrl::Sqlite(SqliteUrl::File(path))) => path.display().to_string(),
            _ => String::new(),
        };
        assert_eq!(path("sqlite:///var/lib/w.db"), "/var/lib/w.db");
        assert_eq!(path("sqlite://w.db"), "w.db");
        assert_eq!(path("sqlite:/tmp/a%20b.db"), "/tmp/a b.db");
    }
}
