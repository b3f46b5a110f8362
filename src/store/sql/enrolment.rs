//! Devices that users bring by themselves.

use super::{Attempt, Cells, Connector, SqlError, SqlStore, audit_row, transaction};
use crate::{
    store::{Actor, NewDevice, StoreError},
    types::{Timestamp, Username},
};

impl<C: Connector> SqlStore<C> {
    pub async fn enrol_device(
        &self,
        device: &NewDevice,
        known: u32,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let target = format!("{}/{}", device.user, device.id);
        let detail = format!("status={}", device.status);
        let audit = audit_row(by, "device.enrol", &target, Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let user = self.lock_user(tx, &device.user).await?;
            let rows = tx.fetch(self.sql.count_devices, &[user.into()]).await?;
            let row = rows.first().ok_or_else(|| StoreError::Schema("no count".into()))?;
            let present: u32 = Cells::new(row, "devices", "user_id").some_number("devices")?;
            if present != known {
                return Ok(false);
            }
            let args = [
                user.into(),
                device.id.kind().as_str().into(),
                device.id.to_string().into(),
                device.label.as_deref().into(),
                device.status.as_str().into(),
                by.at.into(),
                by.at.into(),
            ];
            match tx.execute(self.sql.add_device, &args).await {
                Ok(_) => {}
                Err(SqlError::Unique) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            tx.execute(self.sql.close_enrolment, &[user.into()]).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(true)
        })
        .map_err(StoreError::from)
    }

    pub async fn open_enrolment(
        &self,
        user: &Username,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError> {
        let detail = until.map(|until| format!("until={until}"));
        let audit = audit_row(by, "device.enrolment", user.as_str(), detail.as_deref());
        transaction!(self, Attempt::new(true, false), |tx| {
            let id = self.lock_user(tx, user).await?;
            tx.execute(self.sql.close_enrolment, &[id.into()]).await?;
            if let Some(until) = until {
                tx.execute(self.sql.open_enrolment, &[id.into(), until.into()]).await?;
            }
            tx.execute(self.sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }
}
