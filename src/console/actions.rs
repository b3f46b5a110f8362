//! What visitors change. Each is one call of the store, which writes `admin_audit` in the same transaction.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    store::{self, CommandAction, DeviceStatus, HandedOver, UserPatch, extended},
    telemetry::events::Event,
    types::{DeviceId, SessionId, Username, parse_duration},
};

use super::{
    Desk, Shared,
    access::{Anonymous, Posted, Refusal, Visitor},
    answer::{Fault, Note, done, inside},
    fields::bad,
    pages,
};

/// Longest text that is shown to a client, in bytes.
const MAX_REASON: usize = 200;

pub(super) async fn kill(
    State(desk): State<Shared>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, Fault> {
    let id: SessionId = fields.required("id")?;
    let reason = fields.word("reason").map(str::to_owned);
    if let Some(text) = &reason
        && (text.len() > MAX_REASON || text.chars().any(char::is_control))
    {
        return Err(bad("reason", text, "at most 200 bytes, in one line"));
    }
    hand_over(&desk, &visitor, id, &CommandAction::Kill { reason }, Note::Killed).await
}

pub(super) async fn extend(
    State(desk): State<Shared>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, Fault> {
    let id: SessionId = fields.required("id")?;
    let text = fields.word("by").unwrap_or("");
    let by = parse_duration(text.trim_start_matches('+')).filter(|by| !by.is_zero());
    let by = by.ok_or_else(|| bad("by", text, "no duration; write it as 15m, 1h30m or 2d"))?;
    let session = desk.store().session(id).await?;
    let session = session.ok_or_else(|| Fault::Missing("there is no such session".into()))?;
    let deadline = extended(session.deadline, by, desk.now());
    hand_over(&desk, &visitor, id, &CommandAction::Extend { deadline }, Note::Extended).await
}

async fn hand_over(
    desk: &Desk,
    visitor: &Visitor,
    id: SessionId,
    action: &CommandAction,
    note: Note,
) -> Result<Response, Fault> {
    let (clock, by) = (desk.console.clock, desk.actor(visitor));
    let note = match store::hand_over(desk.store(), clock, id, action, &by).await? {
        HandedOver::Handled(_) => note,
        HandedOver::Queued => Note::Queued,
        HandedOver::Unknown(error) => return Err(error.into()),
    };
    Ok(done("/session", &[("id", &id.to_string())], note))
}

pub(super) async fn judge_device(
    State(desk): State<Shared>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, Fault> {
    let user: Username = fields.required("user")?;
    let text = fields.get("device").unwrap_or("");
    let device = DeviceId::parse(text).map_err(|error| bad("device", text, error))?;
    let (status, note, action) = match fields.required("status")? {
        DeviceStatus::Approved => (DeviceStatus::Approved, Note::Approved, "device.approve"),
        DeviceStatus::Blocked => (DeviceStatus::Blocked, Note::Blocked, "device.block"),
        DeviceStatus::Pending => {
            return Err(Fault::Input("a device cannot be made pending".into()));
        }
    };
    desk.store().set_device_status(&user, &device, status, &desk.actor(&visitor)).await?;
    tell(&visitor, action, format!("{user}/{device}"), &user);
    // Back to where the button was.
    Ok(match fields.get("from") {
        Some("devices") => done("/devices", &[], note),
        Some(_) | None => done("/user", &[("name", user.as_str())], note),
    })
}

pub(super) async fn enable(
    State(desk): State<Shared>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, Fault> {
    let user: Username = fields.required("user")?;
    let enabled: bool = fields.required("enabled")?;
    let patch = UserPatch { enabled: Some(enabled), ..UserPatch::default() };
    desk.store().patch_user(&user, &patch, &desk.actor(&visitor)).await?;
    let (note, action) =
        if enabled { (Note::Enabled, "user.enable") } else { (Note::Disabled, "user.disable") };
    tell(&visitor, action, user.to_string(), &user);
    Ok(done("/user", &[("name", user.as_str())], note))
}

/// In the log, too. Requests to sessions are told by the daemon that carries them out.
fn tell(visitor: &Visitor, action: &'static str, target: String, user: &Username) {
    let user = Some(user.to_string());
    Event::AdminAction { actor: visitor.actor(), action, target, user }.emit();
}

pub(super) async fn login(
    State(desk): State<Shared>,
    headers: HeaderMap,
    Anonymous(fields): Anonymous,
) -> Response {
    let next = inside(fields.get("next"));
    match desk.access.log_in(fields.word("token").unwrap_or("").as_bytes(), &headers) {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        Err(Refusal::Wrong) => {
            Event::ConsoleDenied { reason: "wrong token" }.emit();
            (StatusCode::FORBIDDEN, pages::login::page(next, Some("That is not the token.")))
                .into_response()
        }
        Err(Refusal::Wait) => {
            let text = "There were too many wrong tokens; wait a minute.";
            (StatusCode::TOO_MANY_REQUESTS, pages::login::page(next, Some(text))).into_response()
        }
    }
}

pub(super) async fn logout(
    State(desk): State<Shared>,
    headers: HeaderMap,
    _: Posted,
) -> impl IntoResponse {
    ([(header::SET_COOKIE, desk.access.log_out(&headers))], Redirect::to("/login"))
}
