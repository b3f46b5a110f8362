//! `[console]`: where the web console is served, and who may use it.

use std::net::SocketAddr;

use http::HeaderName;

use super::{Console, ConsoleListen, Endpoint, error::ConfigError, reader::Section, words::shown};
use crate::types::Password;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 32;

pub(super) fn console(mut section: Section<'_>) -> Option<Console> {
    let listen = listen(&mut section);
    let token = token(&mut section);
    let proxy_header = proxy_header(&mut section);
    match &listen {
        Some(ConsoleListen::Tcp(_)) if proxy_header.is_some() => section.fail(
            "proxy_header",
            "everybody on this machine could send it to a port; listen on a unix socket that only the proxy may \
             connect to, as unix:///run/ovpn-warden/console.sock"
                .into(),
        ),
        Some(_) if token.is_none() && proxy_header.is_none() => section.fail(
            "listen",
            "nobody could log in; make a token (`openssl rand -hex 32`) and name its file as token_file".into(),
        ),
        Some(_) | None => {}
    }
    section.finish();
    Some(Console { listen: listen?, token, proxy_header })
}

fn listen(section: &mut Section<'_>) -> Option<ConsoleListen> {
    let (text, at) = section.text("listen").filter(|(text, _)| !text.is_empty())?;
    let problem = match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => return Some(ConsoleListen::Tcp(address)),
        Ok(address) => format!(
            "{address} can be reached from other machines, in the clear; use 127.0.0.1 and ssh -L, or a unix socket \
             behind a proxy with TLS"
        ),
        Err(_) => match Endpoint::parse(&text) {
            Ok(Endpoint::Unix(path)) => return Some(ConsoleListen::Unix(path)),
            Ok(Endpoint::Tcp { .. } | Endpoint::Listen(_)) | Err(_) => format!(
                "`{}` is no address with a port and no socket; use one as 127.0.0.1:9177 or \
                 unix:///run/ovpn-warden/console.sock, or \"\" to switch it off",
                shown(&text)
            ),
        },
    };
    section.report.errors.push(ConfigError::Invalid { at, problem });
    None
}

fn token(section: &mut Section<'_>) -> Option<Password> {
    let (token, at) = section.secret("token")?;
    let problem = if token.expose().len() < SHORTEST_TOKEN {
        format!("it has less than {SHORTEST_TOKEN} bytes, so that it could be guessed")
    } else if !token.expose().iter().all(u8::is_ascii_graphic) {
        "it has a space, or something else that no form sends as it is; letters and digits are best"
            .to_owned()
    } else {
        return Some(token);
    };
    let problem = format!("{problem}; `openssl rand -hex 32` makes one");
    section.report.errors.push(ConfigError::Invalid { at, problem });
    Some(token)
}

fn proxy_header(section: &mut Section<'_>) -> Option<HeaderName> {
    let (text, at) = section.text("proxy_header").filter(|(text, _)| !text.is_empty())?;
    let name = text.parse::<HeaderName>();
    if name.is_err() {
        let problem =
            format!("`{}` is no name of a header; use one as X-Forwarded-User", shown(&text));
        section.report.errors.push(ConfigError::Invalid { at, problem });
    }
    name.ok()
}
