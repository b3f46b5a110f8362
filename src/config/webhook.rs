//! `[webhook]`: where notices go. What stands in its URL may be a secret, too: it is not shown.

use std::{net::IpAddr, time::Duration};

use http::Uri;

use super::{WEBHOOK_EVENTS, Webhook, reader::Section};
use crate::types::Password;

pub(super) fn webhook(mut section: Section<'_>) -> Option<Webhook> {
    let url = section.text("url").map(|(url, _)| url).filter(|url| !url.is_empty());
    let secret = section.secret("secret").map(|(secret, _)| secret);
    let ca_file = section.text("ca_file").map(|(path, _)| path).filter(|path| !path.is_empty());
    let events = events(&mut section);
    let timeout = Duration::from_millis(section.number("timeout_ms", 100..=60_000));
    let queue = section.size("queue", 1..=100_000);
    if let Some(url) = &url {
        if let Some(problem) = problem(url, secret.is_some()) {
            section.fail("url", problem.into());
        } else if url.starts_with("http:") && !is_local(url) {
            let text = "webhook.url: names of users go over the network in the clear; use https";
            section.report.warnings.push(text.into());
        }
    }
    section.finish();
    let (url, secret) = url.zip(secret)?;
    let url = Password::new(url.into_bytes());
    Some(Webhook { url, secret, ca_file: ca_file.map(Into::into), events, timeout, queue })
}

fn events(section: &mut Section<'_>) -> Vec<&'static str> {
    let words = WEBHOOK_EVENTS.map(|event| (event, event));
    let Some((names, at)) = section.list("events") else { return Vec::new() };
    names.iter().filter_map(|name| section.pick(name, at.clone(), &words)).collect()
}

fn problem(url: &str, has_secret: bool) -> Option<&'static str> {
    let uri = url.parse::<Uri>().ok();
    let is_fine = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|place| !place.as_str().contains('@'))
    });
    match (is_fine, has_secret) {
        (false, _) => Some(
            "it is no URL that can be used; write https://host/path, without user and password",
        ),
        (true, false) => {
            Some("nobody could tell its notices from others; set secret_file to sign them")
        }
        (true, true) => None,
    }
}

fn is_local(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or("");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
