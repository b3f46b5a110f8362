//! Devices that users bring by themselves.

use super::{Attempt, Cells, Connector, SqlStore, audit_row, transaction};
use crate::{
    store::{Actor, DeviceStatus, EnrolmentTerms, NewDevice, StoreError},
    types::{DeviceKind, Timestamp, Username},
};

impl<C: Connector> SqlStore<C> {
    pub async fn enrol_device(
        &self,
        device: &NewDevice,
        terms: EnrolmentTerms,
        by: &Actor,
    ) -> Result<Option<DeviceStatus>, StoreError> {
        let target = format!("{}/{}", device.user, device.id);
        let detail = format!("status={}", device.status);
        let audit = audit_row(by, "device.enrol", &target, Some(&detail));
        transaction!(self, Attempt::new(false, false), |tx| {
            let user = self.lock_user(tx, &device.user).await?;
            tx.execute(self.sql.mark_user, &[user.into()]).await?;
            let args = [user.into(), device.id.to_string().into()];
            if let Some(row) = tx.fetch(self.sql.device_status, &args).await?.first() {
                // The same login came twice, an operator was faster, or it waits for approval.
                let status = Cells::new(row, "devices", "identifier").some_parsed("status")?;
                if status != DeviceStatus::Pending || !terms.by_window {
                    return Ok(Some(status));
                }
                let [user, id] = args;
                if tx.execute(self.sql.use_enrolment, &[user.clone(), by.at.into()]).await?.affected
                    == 0
                {
                    return Ok(None);
                }
                let args = [device.status.as_str().into(), by.at.into(), user, id];
                tx.execute(self.sql.set_device_status, &args).await?;
                tx.execute(self.sql.audit, &audit).await?;
                return Ok(Some(device.status));
            }
            let is_certificate = device.id.kind() == DeviceKind::Fingerprint;
            let args = [user.into(), u32::from(is_certificate).into()];
            let rows = tx.fetch(self.sql.count_devices, &args).await?;
            let row = rows.first().ok_or_else(|| StoreError::Schema("no count".into()))?;
            let present: u32 = Cells::new(row, "devices", "user_id").some_number("devices")?;
            if present != terms.known {
                return Ok(None);
            }
            // A device that the window lets in uses it up.
            let args = [user.into(), by.at.into()];
            let was_open = tx.execute(self.sql.use_enrolment, &args).await?.affected > 0;
            if terms.by_window && !was_open {
                return Ok(None);
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
            tx.execute(self.sql.add_device, &args).await?;
            tx.execute(self.sql.audit, &audit).await?;
            Ok(Some(device.status))
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
        transaction!(self, Attempt::new(false, false), |tx| {
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
