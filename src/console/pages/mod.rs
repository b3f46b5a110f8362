//! The pages, and what they share.

pub(super) mod devices;
pub(super) mod explain;
pub(super) mod login;
pub(super) mod overview;
pub(super) mod session;
pub(super) mod sessions;
pub(super) mod user;
pub(super) mod users;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use maud::{DOCTYPE, Markup, html};

use super::{
    Shared,
    access::Visitor,
    fields::{Fields, link},
};
use crate::{
    store::{DeviceRecord, DeviceStatus, SessionRecord, SessionState},
    types::{Printable, SessionId, Timestamp, Username, short_bytes, short_duration},
};

/// What stands after `?`.
pub(super) struct Asked(Fields);

impl FromRequestParts<Shared> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or("").as_bytes())))
    }
}

const NAVIGATION: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/sessions", "Sessions"),
    ("/users", "Users"),
    ("/devices", "Devices"),
    ("/explain", "Explain"),
];

/// A whole page.
fn page(visitor: &Visitor, path: &str, title: &str, main: Markup) -> Markup {
    let name = visitor.actor();
    let name = name.strip_prefix("console:").unwrap_or(&name);
    let navigation = html! {
        nav aria-label="Pages" {
            ul {
                @for (to, text) in NAVIGATION {
                    li { a href=(to) aria-current=[(to == path).then_some("page")] { (text) } }
                }
            }
        }
        div.who {
            span { "Signed in: " b { (name) } }
            @if visitor.has_cookie {
                form method="post" action="/logout" { (signed(visitor)) button.plain { "Log out" } }
            }
        }
    };
    frame(title, navigation, main)
}

fn frame(title: &str, navigation: Markup, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " – ovpn-warden" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header { a.name href="/" { "ovpn-warden" } (navigation) }
                main #main tabindex="-1" { h1 { (title) } (main) }
            }
        }
    }
}

/// A page in place of the one that was asked for.
pub(super) fn fault(status: StatusCode, text: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    frame(
        title,
        html! {},
        html! {
            p.fault role="alert" { (plain(text)) }
            p { a href="/" { "To the overview" } }
        },
    )
}

/// Text from the network or of a person: nothing in it turns what stands around it.
fn plain(text: &str) -> String {
    Printable(text.as_bytes()).to_string()
}

/// What shows that a form is of this visit.
fn signed(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="signature" value=(visitor.signature); }
}

fn time(at: Timestamp) -> Markup {
    let text = at.to_datetime().format("%Y-%m-%d %H:%M:%SZ").to_string();
    html! { time datetime=(at) { (text) } }
}

fn time_or_dash(at: Option<Timestamp>) -> Markup {
    at.map_or_else(|| html! { "–" }, time)
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "–".to_owned(), plain)
}

fn user_link(user: &Username) -> Markup {
    html! { a href=(link("/user", &[("name", user.as_str())])) { (plain(user.as_str())) } }
}

fn session_link(id: SessionId, text: &str) -> Markup {
    html! { a href=(link("/session", &[("id", &id.to_string())])) { (text) } }
}

/// How long a session may go on; of one that has ended, why it did.
fn until(session: &SessionRecord, now: Timestamp) -> String {
    if session.state == SessionState::Closed {
        return or_dash(session.cause.map(|cause| cause.as_str()));
    }
    match session.deadline {
        Some(deadline) if deadline > now => {
            format!("{} left", short_duration(deadline.saturating_since(now)))
        }
        Some(_) => "time is over".into(),
        None => "no limit".into(),
    }
}

/// Sessions, one a line. `with_user`: of whom.
fn session_table(sessions: &[SessionRecord], with_user: bool, now: Timestamp) -> Markup {
    html! {
        div.scroll {
            table #sessions {
                caption.hidden { "Sessions" }
                thead { tr {
                    th scope="col" { "Session" }
                    @if with_user { th scope="col" { "User" } }
                    th scope="col" { "Server" }
                    th scope="col" { "State" }
                    th scope="col" { "Device" }
                    th scope="col" { "From" }
                    th scope="col" { "Started" }
                    th scope="col" { "Time" }
                    th.number scope="col" { "Received" }
                    th.number scope="col" { "Sent" }
                } }
                tbody {
                    @for session in sessions {
                        @let id = session.id.to_string();
                        tr {
                            th scope="row" { (session_link(session.id, &id[..id.len().min(13)])) }
                            @if with_user { td { (user_link(&session.user)) } }
                            td { (session.server) }
                            td { (session.state) }
                            td { (or_dash(session.device.as_ref().map(ToString::to_string).as_deref())) }
                            td { (or_dash(session.client_ip.map(|ip| ip.to_string()).as_deref())) }
                            td { (time(session.started_at)) }
                            td { (until(session, now)) }
                            td.number { (short_bytes(session.bytes_received)) }
                            td.number { (short_bytes(session.bytes_sent)) }
                        }
                    }
                }
            }
        }
    }
}

/// A device's standing, and the buttons that change it. `from`: the page to come back to.
fn device_forms(device: &DeviceRecord, visitor: &Visitor, from: &str) -> Markup {
    let choices = [(DeviceStatus::Approved, "Approve"), (DeviceStatus::Blocked, "Block")];
    let choices = choices.into_iter().filter(|(status, _)| *status != device.status);
    html! {
        form.inline method="post" action="/device" {
            (signed(visitor))
            input type="hidden" name="user" value=(device.user);
            input type="hidden" name="device" value=(device.identifier);
            input type="hidden" name="from" value=(from);
            @for (status, text) in choices {
                button name="status" value=(status) class=(status)
                    data-confirm=[(status == DeviceStatus::Blocked).then_some("Block this device and end its sessions?")]
                    aria-label=(format!("{text} device {} of {}", plain(&device.identifier), plain(device.user.as_str()))) {
                    (text)
                }
            }
        }
    }
}

/// What narrows a table down without a request; of no use without the script, which shows it.
fn filter(table: &str) -> Markup {
    html! {
        label.filter hidden { "Filter " input type="search" data-filter=(table); }
    }
}
