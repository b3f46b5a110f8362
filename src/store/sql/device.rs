//! Devices, as operators change them.

use std::collections::HashMap;

use super::{
    Attempt, Cells, Connector, Failure, Row, SqlError, SqlStore, Value, audit_row,
    none_of_that_name, record, transaction, transaction::Tx, user::MOST,
};
use crate::{
    store::{Actor, DeviceRecord, DeviceStatus, NewDevice, StoreError},
    types::{DeviceId, Timestamp, Username},
};

fn no_device(user: &Username, device: &DeviceId) -> StoreError {
    StoreError::NotFound(format!("device `{device}` of user `{user}`"))
}

fn end(row: &Row) -> Result<((Username, String), Timestamp), StoreError> {
    let cells = Cells::new(row, "device_ends", "identifier");
    let whose = (cells.some_parsed("user_name")?, cells.some_text("identifier")?.to_owned());
    Ok((whose, cells.some_time("valid_until")?))
}

fn target(user: &Username, device: &DeviceId) -> String {
    format!("{user}/{device}")
}

impl<C: Connector> SqlStore<C> {
    pub async fn add_device(&self, device: &NewDevice, by: &Actor) -> Result<(), StoreError> {
        let label: Option<String> = device.label.as_deref().map(|l| l.chars().take(128).collect());
        let target = target(&device.user, &device.id);
        let ends = device.valid_until.map(|at| format!(" valid_until={at}")).unwrap_or_default();
        let detail = format!("status={}{ends}", device.status);
        let audit = audit_row(by, "device.add", &target, Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let user = self.lock_user(tx, &device.user).await?;
            let args = [
                user.into(),
                device.id.kind().as_str().into(),
                device.id.to_string().into(),
                label.as_deref().into(),
                device.status.as_str().into(),
                by.at.into(),
                by.at.into(),
            ];
            match tx.execute(self.sql.add_device, &args).await {
                Ok(_) => {}
                Err(SqlError::Unique) => {
                    let what = format!("device `{}` of user `{}`", device.id, device.user);
                    return Err(StoreError::Exists(what).into());
                }
                Err(error) => return Err(error.into()),
            }
            self.put_end(tx, user, &device.id, device.valid_until).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    /// The last moment of a device in place of the one that it has.
    async fn put_end(
        &self,
        tx: &mut Tx<C>,
        user: i64,
        device: &DeviceId,
        until: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let (user, device): (Value, Value) = (user.into(), device.to_string().into());
        tx.execute(self.sql.remove_device_end, &[user.clone(), device.clone()]).await?;
        if let Some(until) = until {
            tx.execute(self.sql.add_device_end, &[user, device, until.into()]).await?;
        }
        Ok(())
    }

    pub async fn set_device_end(
        &self,
        user: &Username,
        device: &DeviceId,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let detail = until.map_or_else(|| "none".into(), |at| at.to_string());
        let detail = format!("valid_until={detail}");
        let audit = audit_row(by, "device.set", &target(user, device), Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let id = self.lock_user(tx, user).await?;
            let args = [id.into(), device.to_string().into()];
            if tx.fetch(self.sql.device_status, &args).await?.is_empty() {
                return Err(no_device(user, device).into());
            }
            self.put_end(tx, id, device, until).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn devices(
        &self,
        user: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let limit = Value::from(limit.min(MOST));
        let rows = match user {
            Some(user) => {
                let args = vec![user.as_str().into(), limit];
                none_of_that_name(self.read(self.sql.devices_of, args).await, user)?
            }
            None => self.read(self.sql.devices, vec![limit]).await?,
        };
        let mut devices = rows.iter().map(record::device).collect::<Result<Vec<_>, _>>()?;
        devices.retain(|device| user.is_none_or(|user| device.user == *user));
        // Not by a join: the collation of an operator's own table may be any.
        let rows = match user {
            Some(user) => {
                let args = vec![user.as_str().into()];
                none_of_that_name(self.read(self.sql.device_ends_of, args).await, user)?
            }
            None => self.read(self.sql.device_ends, Vec::<Value>::new()).await?,
        };
        let ends = rows.iter().map(end).collect::<Result<HashMap<_, _>, _>>()?;
        for device in &mut devices {
            let key = (device.user.clone(), device.identifier.clone());
            device.valid_until = ends.get(&key).copied();
        }
        Ok(devices)
    }

    pub async fn set_device_status(
        &self,
        user: &Username,
        device: &DeviceId,
        status: DeviceStatus,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let detail = format!("status={status}");
        let audit = audit_row(by, "device.set", &target(user, device), Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let args = [
                status.as_str().into(),
                by.at.into(),
                self.lock_user(tx, user).await?.into(),
                device.to_string().into(),
            ];
            if tx.execute(self.sql.set_device_status, &args).await?.affected == 0 {
                return Err(no_device(user, device).into());
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    pub async fn remove_device(
        &self,
        user: &Username,
        device: &DeviceId,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let audit = audit_row(by, "device.remove", &target(user, device), None);
        transaction!(self, Attempt::new(false, false), |tx| {
            let args = [self.lock_user(tx, user).await?.into(), device.to_string().into()];
            if tx.execute(self.sql.remove_device, &args).await?.affected == 0 {
                return Err(no_device(user, device).into());
            }
            tx.execute(self.sql.remove_device_end, &args).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}
