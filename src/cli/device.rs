//! `device …`: what users may connect with.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::{
    Desk,
    exit::{CliError, warn},
    input,
    output::{View, or_dash, rfc3339, short_time},
    parse::{self, OrNone},
};
use crate::{
    store::{DeviceRecord, DeviceStatus, NewDevice, StoreError},
    types::{DeviceId, Timestamp, Username, parse_duration},
};

/// `device …`.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Register a device, approved
    Add {
        /// Login name of its owner
        user: Username,
        /// A MAC address in any usual notation, or the id that a mobile client sends
        #[arg(value_parser = parse::device)]
        id: DeviceId,
        /// A name for people
        #[arg(long, value_parser = label)]
        label: Option<String>,
        /// Last moment at which it may connect: 2026-12-31, 2026-12-31T18:00:00Z or +30d
        #[arg(long, value_name = "TIME")]
        valid_until: Option<String>,
    },
    /// List the devices of a user, or all
    List {
        /// Login name
        user: Option<Username>,
    },
    /// Let the next unknown device of a user be registered by itself, once
    Enrol {
        /// Login name
        user: Username,
        /// Until then: 1h, 30m, at most 30d
        #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
        duration: String,
        /// End it
        #[arg(long, conflicts_with = "duration")]
        close: bool,
    },
    /// Let a device connect
    Approve {
        /// Login name of its owner
        user: Username,
        /// As for `add`
        #[arg(value_parser = parse::device)]
        id: DeviceId,
        /// As for `add`; without it, its last moment stays as it is
        #[arg(long, value_name = "TIME")]
        valid_until: Option<OrNone<String>>,
    },
    /// Change until when a device may connect
    Set {
        /// Login name of its owner
        user: Username,
        /// As for `add`
        #[arg(value_parser = parse::device)]
        id: DeviceId,
        /// Last moment at which it may connect; `none` removes it
        #[arg(long, value_name = "TIME")]
        valid_until: OrNone<String>,
    },
    /// Keep a device from connecting
    Block {
        /// Login name of its owner
        user: Username,
        /// As for `add`
        #[arg(value_parser = parse::device)]
        id: DeviceId,
    },
    /// Forget a device
    Remove {
        /// Login name of its owner
        user: Username,
        /// As for `add`
        #[arg(value_parser = parse::device)]
        id: DeviceId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

const MOST: u32 = 10_000;
const LONGEST_ENROLMENT: Duration = Duration::from_secs(30 * 86_400);

pub async fn execute(desk: &mut Desk, command: DeviceCommand) -> Result<(), CliError> {
    match command {
        DeviceCommand::Add { user, id, label, valid_until } => {
            let status = DeviceStatus::Approved;
            let valid_until = valid_until
                .map(|text| parse::moment("--valid-until", &text, desk.now()))
                .transpose()?;
            let device =
                NewDevice { user: user.clone(), id: id.clone(), label, status, valid_until };
            desk.store.add_device(&device, &desk.actor()).await.map_err(|error| {
                let next = if matches!(error, StoreError::Exists(_)) {
                    format!(
                        "{}; `device approve` and `device block` change its standing, \
                         `device remove` forgets it",
                        see(&user)
                    )
                } else {
                    "`ovpn-warden user list` shows all users".to_owned()
                };
                CliError::from(error).or_next(next)
            })?;
            report(desk, &user, &id, "added").await
        }
        DeviceCommand::List { user } => {
            if let Some(user) = &user {
                known(desk, user).await?;
            }
            let devices = desk.store.devices(user.as_ref(), MOST).await?;
            if devices.len() >= MOST as usize {
                warn("only the first 10000 devices are listed; name a user to see its devices");
            }
            desk.out.list(&devices.iter().map(DeviceView::from).collect::<Vec<_>>())
        }
        DeviceCommand::Enrol { user, duration, close } => {
            let until = if close { None } else { Some(enrolment_end(desk.now(), &duration)?) };
            desk.store.open_enrolment(&user, until, &desk.actor()).await.map_err(|error| {
                CliError::from(error).or_next("`ovpn-warden user list` shows all users")
            })?;
            let message = match until {
                Some(until) => {
                    format!("the next new device of user `{user}` is registered until {until}")
                }
                None => format!("no device of user `{user}` is registered by itself"),
            };
            desk.out.done(&message, &json!({ "user": user.as_str(), "until": rfc3339(until) }))
        }
        DeviceCommand::Approve { user, id, valid_until } => {
            // First, so that it is never approved for longer than that.
            if let Some(until) = valid_until {
                set_end(desk, &user, &id, until).await?;
            }
            judge(desk, &user, &id, DeviceStatus::Approved).await
        }
        DeviceCommand::Set { user, id, valid_until } => {
            set_end(desk, &user, &id, valid_until).await?;
            report(desk, &user, &id, "changed").await
        }
        DeviceCommand::Block { user, id } => judge(desk, &user, &id, DeviceStatus::Blocked).await,
        DeviceCommand::Remove { user, id, yes } => {
            let view = find(desk, &user, &id).await?.ok_or_else(|| not_found(&user, &id))?;
            input::confirm(&format!("Remove device `{id}` of user `{user}`?"), yes)?;
            desk.store
                .remove_device(&user, &id, &desk.actor())
                .await
                .map_err(|error| CliError::from(error).or_next(see(&user)))?;
            desk.out.done(&format!("device `{id}` of user `{user}` removed"), &view)
        }
    }
}

fn enrolment_end(now: Timestamp, duration: &str) -> Result<Timestamp, CliError> {
    match parse_duration(duration) {
        Some(Duration::ZERO) => Err(CliError::usage("--for: that is over at once")
            .or_next("`--close` ends an enrolment; without --for it is open for an hour")),
        Some(duration) if duration <= LONGEST_ENROLMENT => Ok(now.saturating_add(duration)),
        Some(_) => Err(CliError::usage("--for: at most 30d")),
        None => Err(CliError::usage(format!("--for: `{duration}` is no duration"))
            .or_next("write it as 30m, 1h or 2d")),
    }
}

async fn set_end(
    desk: &Desk,
    user: &Username,
    id: &DeviceId,
    until: OrNone<String>,
) -> Result<(), CliError> {
    let until = until
        .into_option()
        .map(|text| parse::moment("--valid-until", &text, desk.now()))
        .transpose()?;
    desk.store
        .set_device_end(user, id, until, &desk.actor())
        .await
        .map_err(|error| CliError::from(error).or_next(see(user)))
}

async fn judge(
    desk: &mut Desk,
    user: &Username,
    id: &DeviceId,
    status: DeviceStatus,
) -> Result<(), CliError> {
    desk.store
        .set_device_status(user, id, status, &desk.actor())
        .await
        .map_err(|error| CliError::from(error).or_next(see(user)))?;
    report(desk, user, id, status.as_str()).await
}

async fn report(
    desk: &mut Desk,
    user: &Username,
    id: &DeviceId,
    what: &str,
) -> Result<(), CliError> {
    let view = find(desk, user, id).await?;
    desk.out.done(&format!("device `{id}` of user `{user}` {what}"), &view)
}

async fn find(desk: &Desk, user: &Username, id: &DeviceId) -> Result<Option<DeviceView>, CliError> {
    let identifier = id.to_string();
    let devices = desk.store.devices(Some(user), MOST).await?;
    let found = devices.iter().find(|d| d.kind == id.kind() && d.identifier == identifier);
    Ok(found.map(DeviceView::from))
}

async fn known(desk: &Desk, user: &Username) -> Result<(), CliError> {
    match desk.store.user(user).await? {
        Some(_) => Ok(()),
        None => Err(CliError::failed(format!("user `{user}` not found"))
            .or_next("`ovpn-warden user list` shows all users")),
    }
}

fn not_found(user: &Username, id: &DeviceId) -> CliError {
    CliError::failed(format!("device `{id}` of user `{user}` not found")).or_next(see(user))
}

fn see(user: &Username) -> String {
    format!("`ovpn-warden device list '{user}'` shows what is registered")
}

fn label(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("empty".into()),
        1..=128 if text.chars().any(char::is_control) => Err("holds a control character".into()),
        1..=128 => Ok(text.to_owned()),
        _ => Err("longer than 128 characters".into()),
    }
}

#[derive(Serialize)]
struct DeviceView {
    user: String,
    kind: &'static str,
    id: String,
    label: Option<String>,
    status: &'static str,
    valid_until: Option<String>,
    created_at: String,
    #[serde(skip)]
    times: (Option<Timestamp>, Timestamp),
}

impl From<&DeviceRecord> for DeviceView {
    fn from(device: &DeviceRecord) -> Self {
        Self {
            user: device.user.to_string(),
            kind: device.kind.as_str(),
            id: device.identifier.clone(),
            label: device.label.clone(),
            status: device.status.as_str(),
            valid_until: rfc3339(device.valid_until),
            created_at: device.created_at.to_string(),
            times: (device.valid_until, device.created_at),
        }
    }
}

impl View for DeviceView {
    const COLUMNS: &'static [&'static str] =
        &["USER", "KIND", "ID", "STATUS", "UNTIL", "LABEL", "REGISTERED"];
    const LEAST: &'static [&'static str] = &["KIND", "REGISTERED", "LABEL"];

    fn row(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            self.kind.into(),
            self.id.clone(),
            self.status.into(),
            short_time(self.times.0),
            or_dash(self.label.as_deref()),
            short_time(Some(self.times.1)),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("user", self.user.clone()),
            ("kind", self.kind.into()),
            ("id", self.id.clone()),
            ("status", self.status.into()),
            ("valid until", or_dash(self.valid_until.as_deref())),
            ("label", or_dash(self.label.as_deref())),
            ("registered", self.created_at.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        assert!(label("Zoë's laptop").is_ok());
        assert!(label("").is_err() && label("a\nb").is_err());
        assert!(label(&"é".repeat(128)).is_ok() && label(&"é".repeat(129)).is_err());
    }
}
