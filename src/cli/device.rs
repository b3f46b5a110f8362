//! `device`: on what a user may connect.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    store::{DeviceRecord, DeviceStatus, NewDevice, Store, StoreError},
    types::{Clock, DeviceId, Username},
};

use super::{
    context::{self, Globals},
    exit::{CliError, Outcome},
    output::{Output, cell},
};

/// Devices in the list.
const LIMIT: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a device
    Add {
        /// Its owner
        user: Username,
        /// MAC address in any usual notation, or an opaque id
        id: String,
        /// A name for people
        #[arg(long)]
        label: Option<String>,
    },
    /// List devices of a user, or of all
    List {
        /// Its owner
        user: Option<Username>,
    },
    /// Let a device connect
    Approve {
        /// Its owner
        user: Username,
        /// Its id
        id: String,
    },
    /// Let a device connect no more
    Block {
        /// Its owner
        user: Username,
        /// Its id
        id: String,
    },
    /// Remove a device
    Remove {
        /// Its owner
        user: Username,
        /// Its id
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    user: String,
    id: String,
    kind: &'static str,
    status: &'static str,
    label: Option<String>,
    created_at: String,
}

impl From<DeviceRecord> for Row {
    fn from(device: DeviceRecord) -> Self {
        Self {
            user: device.user.to_string(),
            id: device.identifier,
            kind: device.kind.as_str(),
            status: device.status.as_str(),
            label: device.label,
            created_at: device.created_at.to_string(),
        }
    }
}

/// Reads an id, and says how one is written.
fn id(text: &str) -> Result<DeviceId, CliError> {
    DeviceId::parse(text).map_err(|error| {
        CliError::usage(format!(
            "`{text}`: {error}; write a MAC as 00:11:22:33:44:55, 00-11-22-33-44-55, 0011.2233.4455 \
             or 001122334455, or an opaque id of 16 to 255 characters (32 or more if it has \
             separators)"
        ))
    })
}

pub(super) fn execute(
    globals: &Globals,
    command: Command,
    output: Output,
) -> Result<Outcome, CliError> {
    let config = context::config(globals)?;
    if let Command::Remove { user, id: text, yes } = &command {
        let id = id(text)?;
        context::confirm(&format!("Remove device {id} of user {user}?"), *yes)?;
    }
    context::block_on(async {
        let store = context::open_ready(&config).await?;
        let result = perform(&*store, command, output).await;
        store.close().await;
        result
    })??;
    Ok(Outcome::Done)
}

async fn perform(store: &dyn Store, command: Command, output: Output) -> Result<(), CliError> {
    let by = context::actor(&Clock::new());
    match command {
        Command::Add { user, id: text, label } => {
            let id = id(&text)?;
            let done = format!("device {id} of user {user} is registered");
            if label.as_ref().is_some_and(|label| label.chars().count() > 128) {
                return Err(CliError::usage("the label is longer than 128 characters"));
            }
            let status = DeviceStatus::Approved;
            store.add_device(&NewDevice { user, id, label, status }, &by).await?;
            output.done(&done)
        }
        Command::List { user } => {
            if let Some(name) = &user
                && store.user(name).await?.is_none()
            {
                return Err(StoreError::NotFound(format!("user `{name}`")).into());
            }
            let devices = store.devices(user.as_ref(), LIMIT).await?;
            context::note_limit(devices.len(), LIMIT, "say USER");
            let rows: Vec<Row> = devices.into_iter().map(Row::from).collect();
            output.list(&["USER", "ID", "KIND", "STATUS", "LABEL"], &rows, |row| {
                vec![
                    row.user.clone(),
                    cell(Some(&row.id)),
                    row.kind.to_owned(),
                    row.status.to_owned(),
                    cell(row.label.as_deref()),
                ]
            })
        }
        Command::Approve { user, id: text } => {
            let id = id(&text)?;
            store.set_device_status(&user, &id, DeviceStatus::Approved, &by).await?;
            output.done(&format!("device {id} of user {user} is approved"))
        }
        Command::Block { user, id: text } => {
            let id = id(&text)?;
            store.set_device_status(&user, &id, DeviceStatus::Blocked, &by).await?;
            output.done(&format!("device {id} of user {user} is blocked"))
        }
        Command::Remove { user, id: text, .. } => {
            let id = id(&text)?;
            store.remove_device(&user, &id, &by).await?;
            output.done(&format!("device {id} of user {user} is removed"))
        }
    }
}
