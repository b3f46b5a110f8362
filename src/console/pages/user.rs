//! One user's story: account, devices, and what happened, newest first.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    auth::password::Scheme,
    console::{
        Shared,
        access::Visitor,
        answer::{Fault, note},
        fields::link,
    },
    store::{
        AuditRecord, AuthEvent, AuthEventKind, DeviceRecord, SecondFactorStatus, SessionFilter,
        SessionRecord, SessionState, UserRecord,
    },
    types::{Timestamp, Username, short_bytes, short_duration},
};

use super::{
    Asked, device_forms, or_dash, page, plain, session_link, session_table, signed, time,
    time_or_dash,
};

/// Devices, sessions, changes and failed logins that are read.
const MOST: u32 = 100;
/// Lines of the story.
const LINES: usize = 100;

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let name: Username = fields.required("name")?;
    let store = desk.store();
    let all = SessionFilter {
        user: Some(name.clone()),
        ended: true,
        limit: MOST,
        ..SessionFilter::default()
    };
    let open = SessionFilter { ended: false, ..all.clone() };
    let (user, factor, devices, open, past, changes, failures) = tokio::try_join!(
        store.user(&name),
        store.second_factor(&name),
        store.devices(Some(&name), MOST),
        store.sessions(&open),
        store.sessions(&all),
        store.audit_of(name.as_str(), MOST),
        store.auth_events_of(&name, MOST),
    )?;
    if user.is_none() && past.is_empty() && changes.is_empty() {
        return Err(Fault::Missing(format!("there is no user `{name}`")));
    }
    let main = html! {
        (note(fields.get("note")))
        @match &user {
            Some(user) => { (account(user, factor, &visitor)) (device_table(&devices, &visitor)) }
            None => p.fault { "This account is gone; what is below was before." }
        }
        h2 { "Connected now" }
        @if open.is_empty() { p.quiet { "Not connected." } }
        @else { (session_table(&open, false, desk.now())) }
        h2 { "Story" }
        (story(&past, &changes, &failures))
    };
    Ok(page(&visitor, "/user", &plain(name.as_str()), main))
}

fn account(user: &UserRecord, factor: Option<SecondFactorStatus>, visitor: &Visitor) -> Markup {
    let hash = user.password_hash.as_deref();
    let scheme = hash.map(|hash| Scheme::detect(hash).map_or("of no known scheme", Scheme::as_str));
    html! {
        dl.facts {
            dt { "Account" } dd {
                (if user.enabled { "on" } else { "off" }) " "
                form.inline method="post" action="/user/enabled"
                    data-confirm=[user.enabled.then_some("Switch this account off and end its sessions?")] {
                    (signed(visitor))
                    input type="hidden" name="user" value=(user.name);
                    button name="enabled" value=(!user.enabled) class=[user.enabled.then_some("danger")] {
                        (if user.enabled { "Switch off" } else { "Switch on" })
                    }
                }
            }
            dt { "Policy" } dd { (user.policy) }
            dt { "Valid" } dd { (time_or_dash(user.valid_from)) " to " (time_or_dash(user.valid_until)) }
            dt { "Password" } dd { (or_dash(scheme)) ", set " (time_or_dash(user.password_changed_at)) }
            dt { "Second factor" } dd {
                @match factor {
                    Some(factor) => { "since " (time(factor.enrolled_at)) ", " (factor.recovery_codes) " recovery codes left" }
                    None => "none"
                }
            }
            dt { "Made" } dd { (time(user.created_at)) }
        }
        p { a href=(link("/explain", &[("user", user.name.as_str())])) { "Would a login be let in now?" } }
    }
}

fn device_table(devices: &[DeviceRecord], visitor: &Visitor) -> Markup {
    html! {
        h2 { "Devices" }
        @if devices.is_empty() { p.quiet { "None is registered." } }
        @else {
            div.scroll { table {
                caption.hidden { "Devices" }
                thead { tr {
                    th scope="col" { "Device" } th scope="col" { "Kind" } th scope="col" { "Label" }
                    th scope="col" { "Status" } th scope="col" { "Since" } th scope="col" { "Change" }
                } }
                tbody { @for device in devices { tr {
                    th scope="row" { code { (plain(&device.identifier)) } }
                    td { (device.kind.as_str()) }
                    td { (or_dash(device.label.as_deref())) }
                    td { span class=(format!("status {}", device.status)) { (device.status) } }
                    td { (time(device.created_at)) }
                    td { (device_forms(device, visitor, "user")) }
                } } }
            } }
        }
    }
}

/// Sessions, failed logins and changes in one list.
fn story(past: &[SessionRecord], changes: &[AuditRecord], failures: &[AuthEvent]) -> Markup {
    let mut lines: Vec<(Timestamp, Markup)> = Vec::new();
    for session in past {
        lines.push((session.started_at, opened(session)));
        if let Some(ended) = session.ended_at.filter(|_| session.state == SessionState::Closed) {
            lines.push((ended, closed(session)));
        }
    }
    lines.extend(changes.iter().map(|change| (change.at, changed(change))));
    lines.extend(failures.iter().map(|event| (event.at, failed(event))));
    lines.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    lines.truncate(LINES);
    html! {
        @if lines.is_empty() { p.quiet { "Nothing has happened yet." } }
        @else {
            ol.story { @for (at, text) in lines { li { (time(at)) span { (text) } } } }
        }
    }
}

fn opened(session: &SessionRecord) -> Markup {
    html! {
        (session_link(session.id, "connected")) " to " (session.server) ", device "
        (or_dash(session.device.as_ref().map(ToString::to_string).as_deref())) ", from "
        (or_dash(session.client_ip.map(|ip| ip.to_string()).as_deref()))
    }
}

fn closed(session: &SessionRecord) -> Markup {
    let lasted = short_duration(std::time::Duration::from_secs(session.duration_s()));
    html! {
        (session_link(session.id, "session ended")) ": "
        (or_dash(session.cause.map(|cause| cause.as_str()))) " after " (lasted) ", "
        (short_bytes(session.bytes_received)) " received, " (short_bytes(session.bytes_sent)) " sent"
    }
}

fn changed(change: &AuditRecord) -> Markup {
    html! {
        (plain(&change.actor)) ": " (change.action) " " (plain(&change.target))
        @if let Some(detail) = &change.detail { " (" (plain(detail)) ")" }
    }
}

fn failed(event: &AuthEvent) -> Markup {
    let what = match event.kind {
        AuthEventKind::Failed => "login failed: wrong password",
        AuthEventKind::FailedDevice => "login failed: a device that is not registered",
        AuthEventKind::FailedCode => "login failed: wrong one-time code",
        AuthEventKind::Forgiven => "logged in after failures",
        AuthEventKind::Cleared => "failures forgotten by an operator",
    };
    html! {
        (what)
        @if let Some(network) = event.network { ", from " (network) }
    }
}
