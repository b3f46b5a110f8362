//! Rows to records, and session records to rows.

use std::num::NonZeroU32;

use super::{Cells, Row, Value};
use crate::{
    store::{
        CommandAction, CommandId, DeviceEnds, DeviceRecord, PolicyRecord, SessionCommand,
        SessionRecord, StoreError, UserRecord,
    },
    types::{Cid, DeviceId, DeviceKind, HourRange, Hours, Printable, Quotas, truncate_on_char},
};

/// The policy of users that name none.
pub const DEFAULT_POLICY: &str = "default";

pub fn user(row: &Row) -> Result<UserRecord, StoreError> {
    let cells = Cells::new(row, "users", "name");
    Ok(UserRecord {
        id: cells.some_number("id")?,
        name: cells.some_parsed("name")?,
        password_hash: cells.owned("password_hash")?,
        policy: cells.text("policy")?.unwrap_or(DEFAULT_POLICY).to_owned(),
        enabled: cells.flag("enabled")?,
        valid_from: cells.time("valid_from")?,
        valid_until: cells.time("valid_until")?,
        password_changed_at: cells.time("password_changed_at")?,
        created_at: cells.some_time("created_at")?,
        updated_at: cells.some_time("updated_at")?,
    })
}

pub fn policy(cells: Cells<'_>) -> Result<PolicyRecord, StoreError> {
    Ok(PolicyRecord { hours: hours(cells)?, ..policy_without_hours(cells)? })
}

/// A policy as if it had no hours.
pub fn policy_without_hours(cells: Cells<'_>) -> Result<PolicyRecord, StoreError> {
    Ok(PolicyRecord {
        name: cells.some_text("name")?.to_owned(),
        session_limit_s: cells.number("session_limit_s")?,
        expiry_action: cells.parsed("expiry_action")?,
        device_mode: cells.parsed("device_mode")?,
        max_devices: cells.number("max_devices")?,
        max_sessions: cells.number("max_sessions")?,
        on_limit: cells.parsed("on_limit")?,
        cooldown_s: cells.number("cooldown_s")?,
        time_zone: cells.parsed("time_zone")?,
        hours: Hours::default(),
        time_quota: Quotas::new([
            cells.number("time_quota_day_s")?,
            cells.number("time_quota_week_s")?,
            cells.number("time_quota_month_s")?,
            cells.number("time_quota_total_s")?,
        ]),
        data_quota: Quotas::new([
            cells.number("data_quota_day_bytes")?,
            cells.number("data_quota_week_bytes")?,
            cells.number("data_quota_month_bytes")?,
            cells.number("data_quota_total_bytes")?,
        ]),
        idle_s: cells.number("idle_s")?,
        idle_bytes: cells.number("idle_bytes")?,
        require_fingerprint: cells.optional_flag("require_fingerprint")?,
        second_factor: cells.parsed("second_factor")?,
        retention_days: cells.number("retention_days")?,
    })
}

/// Ranges as `1 08:00-18:00`, with commas between. What MySQL cut short is no range at its end, so
/// that it does not pass for fewer hours.
pub fn hours(cells: Cells<'_>) -> Result<Hours, StoreError> {
    let range = |text: &str| {
        let (weekday, times) = text.split_once(' ')?;
        let (opens, closes) = times.split_once('-')?;
        HourRange::new(weekday.parse().ok()?, opens, closes).ok()
    };
    let Some(text) = cells.text("hours")? else { return Ok(Hours::default()) };
    let mut ranges = Vec::new();
    for text in text.split(',') {
        let bad = || {
            let shown = Printable(truncate_on_char(text, 32).as_bytes());
            let rule = format!("`{shown}` of `allowed_hours` is no range as `1 08:00-18:00`");
            cells.corrupt("hours", &rule)
        };
        ranges.push(range(text).ok_or_else(bad)?);
    }
    Hours::new(ranges).map_err(|_| cells.corrupt("hours", "are too many rows of `allowed_hours`"))
}

fn device_kind(cells: Cells<'_>, column: &'static str) -> Result<DeviceKind, StoreError> {
    match cells.some_text(column)? {
        "mac" => Ok(DeviceKind::Mac),
        "opaque" => Ok(DeviceKind::Opaque),
        "fingerprint" => Ok(DeviceKind::Fingerprint),
        _ => Err(cells.corrupt(column, "is not a known value")),
    }
}

/// The columns `device_end` and `certificate_end`.
pub fn device_ends(cells: Cells<'_>) -> Result<DeviceEnds, StoreError> {
    let (device, certificate) = (cells.time("device_end")?, cells.time("certificate_end")?);
    Ok(DeviceEnds { device, certificate })
}

pub fn device(row: &Row) -> Result<DeviceRecord, StoreError> {
    let cells = Cells::new(row, "devices", "identifier");
    Ok(DeviceRecord {
        user: cells.some_parsed("user_name")?,
        kind: device_kind(cells, "kind")?,
        identifier: cells.some_text("identifier")?.to_owned(),
        label: cells.owned("label")?,
        status: cells.some_parsed("status")?,
        valid_until: None,
        created_at: cells.some_time("created_at")?,
    })
}

pub fn command(row: &Row) -> Result<SessionCommand, StoreError> {
    let cells = Cells::new(row, "session_commands", "id");
    let action = match cells.some_text("action")? {
        "kill" => CommandAction::Kill { reason: cells.owned("reason")? },
        "replace" => CommandAction::Replace,
        "extend" => CommandAction::Extend { deadline: cells.some_time("deadline")? },
        _ => return Err(cells.corrupt("action", "is not a known value")),
    };
    Ok(SessionCommand {
        id: CommandId(cells.some_number("id")?),
        session: cells.some_parsed("session_id")?,
        server: cells.some_parsed("server")?,
        // Only told: a name that cannot be read is no reason not to end a session.
        user: cells.parsed("user_name").unwrap_or_default(),
        action,
        actor: cells.some_text("actor")?.to_owned(),
    })
}

pub fn session(row: &Row) -> Result<SessionRecord, StoreError> {
    let cells = Cells::new(row, "sessions", "id");
    let device = match cells.text("device")? {
        None => None,
        Some(text) => {
            let kind = device_kind(cells, "device_kind")?;
            let device = DeviceId::parse(text).ok().filter(|d| d.kind() == kind);
            Some(device.ok_or_else(|| cells.corrupt("device", "is not of its kind"))?)
        }
    };
    Ok(SessionRecord {
        id: cells.some_parsed("id")?,
        version: cells.some_number("version")?,
        state: cells.some_parsed("state")?,
        server: cells.some_parsed("server")?,
        run_started: cells.some_time("run_started")?,
        cid: Cid(cells.some_number("cid")?),
        user: cells.some_parsed("user_name")?,
        common_name: cells.text("common_name")?.map(Into::into),
        device,
        client_ip: cells.parsed("client_ip")?,
        client_port: cells.number("client_port")?,
        vpn_ip: cells.text("vpn_ip")?.map(Into::into),
        client_version: cells.text("client_version")?.map(Into::into),
        client_platform: cells.text("client_platform")?.map(Into::into),
        started_at: cells.some_time("started_at")?,
        updated_at: cells.some_time("updated_at")?,
        deadline: cells.time("deadline")?,
        deadline_reason: cells.parsed("deadline_reason")?,
        expiry_action: cells.some_parsed("expiry_action")?,
        warned_at: cells.time("warned_at")?,
        ended_at: cells.time("ended_at")?,
        cause: cells.parsed("cause")?,
        bytes_received: cells.some_number("bytes_received")?,
        bytes_sent: cells.some_number("bytes_sent")?,
        day_marks: cells.parsed("day_marks")?.unwrap_or_default(),
        certificate: cells.parsed("certificate")?.map(Box::new),
        session_timeout_s: cells.number("session_timeout_s")?.and_then(NonZeroU32::new),
    })
}

fn day_marks(session: &SessionRecord) -> Value {
    match session.day_marks.iter().next() {
        None => Value::Null,
        Some(_) => session.day_marks.to_string().into(),
    }
}

/// Appends a session in the order of the columns of `persist`.
pub fn push_session(args: &mut Vec<Value>, session: &SessionRecord) {
    args.extend([
        Value::Text(session.id.to_string()),
        session.version.into(),
        session.state.as_str().into(),
        session.server.as_str().into(),
        session.run_started.into(),
        session.cid.0.into(),
        session.user.as_str().into(),
        Value::cut_opt(session.common_name.as_deref(), 255),
        session.device.as_ref().map(DeviceId::to_string).into(),
        session.device.as_ref().map(|d| d.kind().as_str()).into(),
        session.client_ip.map(|ip| ip.to_string()).into(),
        session.client_port.map(u32::from).into(),
        Value::cut_opt(session.vpn_ip.as_deref(), 45),
        Value::cut_opt(session.client_version.as_deref(), 64),
        Value::cut_opt(session.client_platform.as_deref(), 64),
        session.started_at.into(),
        session.updated_at.into(),
        session.deadline.into(),
        session.deadline_reason.map(|cause| cause.as_str()).into(),
        session.expiry_action.as_str().into(),
        session.warned_at.into(),
        session.ended_at.into(),
        session.cause.map(|cause| cause.as_str()).into(),
        session.bytes_received.into(),
        session.bytes_sent.into(),
        day_marks(session),
        session.certificate.as_ref().map(|certificate| certificate.to_string()).into(),
        session.session_timeout_s.map(NonZeroU32::get).into(),
        session.duration_s().into(),
    ]);
}
