//! `explain` as a form: would this login be let in, and which rule says what.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    auth::service::trial::{Outcome, Trial, Verdict},
    console::{
        Desk, Shared,
        access::Visitor,
        answer::Fault,
        fields::{Fields, bad},
    },
    types::{DeviceId, Timestamp, Username},
};

use super::{Asked, page, plain, time, user_link};

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let answer = match fields.parsed("user")? {
        Some(user) => Some(rehearse(&desk, &fields, user).await?),
        None => None,
    };
    let main = html! {
        (form(&desk, &fields))
        @if let Some(answer) = answer { (answer) }
    };
    Ok(page(&visitor, "/explain", "Explain", main))
}

async fn rehearse(desk: &Desk, fields: &Fields, user: Username) -> Result<Markup, Fault> {
    let now = desk.now();
    let at =
        fields.word("at").map(|text| Timestamp::parse(text, now).map_err(|e| bad("at", text, e)));
    let at = at.transpose()?.unwrap_or(now);
    let device = fields.word("device");
    let device = device.map(|text| DeviceId::parse(text).map_err(|e| bad("device", text, e)));
    let device = device.transpose()?;
    let server = fields.parsed("server")?.or_else(|| desk.console.servers.first().cloned());
    let trial = Trial {
        server: server.ok_or_else(|| Fault::Input("no server is configured".into()))?,
        user: user.clone(),
        device: Ok(device.clone()),
        fingerprint: fields.parsed("fingerprint")?,
        common_name: fields.word("common_name").map(str::to_owned),
        client_ip: fields.parsed("client_ip")?,
        password: None,
        has_no_password: false,
        code: None,
    };
    let console = &desk.console;
    let outcome = trial.run(desk.store(), &console.defaults, &console.schemes, at).await?;
    Ok(told(&user, device.as_ref(), &outcome, at))
}

fn form(desk: &Desk, fields: &Fields) -> Markup {
    let value = |name| fields.get(name).map(plain);
    let server = fields.get("server");
    html! {
        p { "A login as a rehearsal: nothing is changed or counted. The password and a one-time code count as right." }
        form.search method="get" action="/explain" {
            label { "User " input type="text" name="user" required maxlength="128" value=[value("user")]; }
            label { "Device " input type="text" name="device" value=[value("device")] maxlength="128"
                placeholder="MAC address or id"; }
            label { "Certificate " input type="text" name="fingerprint" value=[value("fingerprint")] maxlength="128"
                placeholder="SHA-256 fingerprint"; }
            label { "Common name " input type="text" name="common_name" value=[value("common_name")] maxlength="255"; }
            label { "Server "
                select name="server" {
                    @for known in &desk.console.servers {
                        option value=(known) selected[server == Some(known.as_str())] { (known) }
                    }
                }
            }
            label { "From address " input type="text" name="client_ip" value=[value("client_ip")] maxlength="45"; }
            label { "At " input type="text" name="at" value=[value("at")] maxlength="40" placeholder="now, or +2h, or 2026-12-31T18:00:00Z"; }
            button { "Explain" }
        }
    }
}

fn told(user: &Username, device: Option<&DeviceId>, outcome: &Outcome, at: Timestamp) -> Markup {
    html! {
        h2 { "Answer" }
        dl.facts {
            dt { "User" } dd { (user_link(user)) }
            dt { "At" } dd { (time(at)) }
            dt { "Answer" } dd {
                @match &outcome.verdict {
                    Ok(_) => span.status.approved { "allowed" },
                    Err(reason) => span.status.blocked { "denied: " (reason) },
                }
            }
            @match &outcome.verdict {
                Ok(terms) => {
                    dt { "Until" } dd {
                        @match terms.deadline { Some(at) => (time(at)), None => "no limit" }
                        @if let Some(why) = terms.deadline_reason { " (" (why) ")" }
                    }
                }
                Err(_) => {
                    @if let Some(fault) = &outcome.fault { dt { "Because" } dd { (plain(fault)) } }
                    dt { "The client sees" } dd { (outcome.client_sees(device).unwrap_or_default()) }
                }
            }
            @for line in &outcome.config { dt { "OpenVPN is told" } dd { code { (plain(line)) } } }
        }
        div.scroll { table {
            caption.hidden { "Rules" }
            thead { tr { th scope="col" { "Rule" } th scope="col" { "Verdict" } th scope="col" { "Reason" } } }
            tbody { @for (rule, verdict) in &outcome.rules { tr {
                th scope="row" { (rule.replace('_', " ")) }
                @match verdict {
                    Verdict::Pass => { td { "pass" } td { "" } }
                    Verdict::NotChecked => { td { "counts as right" } td { "" } }
                    Verdict::Deny(reason) => { td { span.status.blocked { "deny" } } td { (reason) } }
                }
            } } }
        } }
    }
}
