//! Devices, as operators change them.

use super::{
    Attempt, Connector, SqlError, SqlStore, Value, audit_row, none_of_that_name, record,
    transaction, user::MOST,
};
use crate::{
    store::{Actor, DeviceRecord, DeviceStatus, NewDevice, StoreError},
    types::{DeviceId, Username},
};

fn no_device(user: &Username, device: &DeviceId) -> StoreError {
    StoreError::NotFound(format!("device `{device}` of user `{user}`"))
}

fn target(user: &Username, device: &DeviceId) -> String {
    format!("{user}/{device}")
}

impl<C: Connector> SqlStore<C> {
    pub async fn add_device(&self, device: &NewDevice, by: &Actor) -> Result<(), StoreError> {
        let label: Option<String> = device.label.as_deref().map(|l| l.chars().take(128).collect());
        let target = target(&device.user, &device.id);
        let detail = format!("status={}", device.status);
        let audit = audit_row(by, "device.add", &target, Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let args = [
                self.lock_user(tx, &device.user).await?.into(),
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
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}
