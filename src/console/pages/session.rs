//! One session, and what can be done to it.

use axum::extract::State;
use maud::{Markup, html};

use crate::{
    console::{
        Shared,
        access::Visitor,
        answer::{Fault, note},
    },
    store::{SessionRecord, SessionState},
    types::{SessionId, short_bytes, short_duration},
};

use super::{Asked, or_dash, page, signed, time, time_or_dash, until, user_link};

pub(in crate::console) async fn show(
    State(desk): State<Shared>,
    visitor: Visitor,
    Asked(fields): Asked,
) -> Result<Markup, Fault> {
    let id: SessionId = fields.required("id")?;
    let session = desk.store().session(id).await?;
    let session = session.ok_or_else(|| Fault::Missing("there is no such session".into()))?;
    let main = html! {
        (note(fields.get("note")))
        (facts(&session, desk.now()))
        @if session.state != SessionState::Closed { (forms(&session, &visitor)) }
    };
    Ok(page(&visitor, "/session", "Session", main))
}

fn facts(session: &SessionRecord, now: crate::types::Timestamp) -> Markup {
    let text = |value: Option<String>| or_dash(value.as_deref());
    let address = session.client_ip.map(|ip| match session.client_port {
        Some(port) => std::net::SocketAddr::from((ip, port)).to_string(),
        None => ip.to_string(),
    });
    let duration = short_duration(std::time::Duration::from_secs(session.duration_s()));
    html! {
        dl.facts {
            dt { "User" } dd { (user_link(&session.user)) }
            dt { "State" } dd { (session.state) ", " (until(session, now)) }
            dt { "Server" } dd { (session.server) ", client " (session.cid.0) }
            dt { "Device" } dd { (text(session.device.as_ref().map(ToString::to_string))) }
            dt { "Certificate" } dd { (text(session.certificate.as_ref().map(ToString::to_string))) }
            dt { "Common name" } dd { (or_dash(session.common_name.as_deref())) }
            dt { "Connects from" } dd { (text(address)) }
            dt { "Address in the tunnel" } dd { (or_dash(session.vpn_ip.as_deref())) }
            dt { "Client" } dd { (or_dash(session.client_version.as_deref())) ", " (or_dash(session.client_platform.as_deref())) }
            dt { "Started" } dd { (time(session.started_at)) " (" (duration) ")" }
            dt { "Deadline" } dd { (time_or_dash(session.deadline))
                @if let Some(reason) = session.deadline_reason { " (" (reason) ")" } }
            dt { "Ended" } dd { (time_or_dash(session.ended_at)) }
            dt { "Received, sent" } dd { (short_bytes(session.bytes_received)) ", " (short_bytes(session.bytes_sent)) }
            dt { "Id" } dd { code { (session.id) } }
        }
    }
}

fn forms(session: &SessionRecord, visitor: &Visitor) -> Markup {
    html! {
        div.sheets {
            form.sheet method="post" action="/session/extend" {
                h2 { "More time" }
                (signed(visitor))
                input type="hidden" name="id" value=(session.id);
                label for="by" { "Added to the deadline, or to now if there is none or it is past" }
                input #by type="text" name="by" value="1h" required pattern="\\+?([0-9]+[smhdw]?)+" size="8";
                button { "Extend" }
            }
            form.sheet method="post" action="/session/kill" data-confirm="End this session?" {
                h2 { "End it" }
                (signed(visitor))
                input type="hidden" name="id" value=(session.id);
                label for="reason" { "What the client is shown, if anything" }
                input #reason type="text" name="reason" maxlength="200";
                button.danger { "End session" }
            }
        }
    }
}
