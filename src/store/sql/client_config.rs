//! Lines of client configuration, as operators change them. Logins read them with the facts.

use std::net::IpAddr;

use super::{
    Attempt, Cells, Connector, Failure, Row, SqlError, SqlStore, Value, audit_row, transaction,
    transaction::Tx,
    user::{no_policy, no_user},
};
use crate::{
    store::{Actor, ConfigOwner, NewLine, StoreError, StoredLine, client_config::stored},
    types::ServerName,
};

/// The row of `user_marks` that stands for all users: no id is negative.
const EVERY_USER: i64 = -1;

impl<C: Connector> SqlStore<C> {
    pub async fn client_config(&self, owner: &ConfigOwner) -> Result<Vec<StoredLine>, StoreError> {
        let rows = match owner {
            ConfigOwner::User(name) => {
                let user = self.user(name).await?.ok_or_else(|| no_user(name))?;
                self.read(self.sql.user_config, vec![user.id.into()]).await?
            }
            ConfigOwner::Policy(name) => {
                self.read(self.sql.policy_config, vec![name.as_str().into()]).await?
            }
        };
        lines(&rows)
    }

    pub async fn put_client_config(
        &self,
        owner: &ConfigOwner,
        before: &[StoredLine],
        after: &[NewLine],
        by: &Actor,
    ) -> Result<(), StoreError> {
        let (action, target) = match owner {
            ConfigOwner::User(name) => ("user.config", name.as_str()),
            ConfigOwner::Policy(name) => ("policy.config", name.as_str()),
        };
        let audit = audit_row(by, action, target, Some(&describe(before, after)));
        transaction!(self, Attempt::new(false, false), |tx| {
            let sql = self.sql;
            let (key, read, remove) = match owner {
                ConfigOwner::User(name) => {
                    // One for all, before anything is read: an address for all servers and the same one for one
                    // server are rows that no key keeps apart.
                    tx.execute(sql.mark_user, &[EVERY_USER.into()]).await?;
                    let id = Value::from(self.lock_user(tx, name).await?);
                    tx.execute(sql.mark_user, std::slice::from_ref(&id)).await?;
                    (id, sql.user_config, sql.remove_user_config)
                }
                ConfigOwner::Policy(name) => {
                    let key = Value::from(name.as_str());
                    let touched =
                        tx.execute(sql.touch_policy, &[by.at.into(), key.clone()]).await?;
                    if touched.affected == 0 {
                        return Err(no_policy(name).into());
                    }
                    (key, sql.policy_config, sql.remove_policy_config)
                }
            };
            let key = std::slice::from_ref(&key);
            if lines(&tx.fetch(read, key).await?)? != before {
                return Err(StoreError::InUse("the client configuration".into()).into());
            }
            tx.execute(remove, key).await?;
            for (position, new) in (0_u32..).zip(after) {
                self.add_line(tx, owner, &key[0], position, new).await?;
            }
            tx.execute(sql.audit, &audit).await?;
            Ok(())
        })
        .map_err(StoreError::from)
    }

    async fn add_line(
        &self,
        tx: &mut Tx<C>,
        owner: &ConfigOwner,
        key: &Value,
        position: u32,
        new: &NewLine,
    ) -> Result<(), Failure> {
        let server = new.line.server.as_ref().map_or("", ServerName::as_str);
        let mut args: Vec<Value> =
            vec![key.clone(), server.into(), position.into(), (*new.line.text).into()];
        let ConfigOwner::User(_) = owner else {
            tx.execute(self.sql.add_policy_config, &args).await?;
            return Ok(());
        };
        let address = new.address.map(|address| address.to_string());
        if let Some(address) = &address {
            // As the line is written, which is how people write it, too.
            let written = match new.address {
                Some(IpAddr::V6(_)) => format!("ifconfig-ipv6-push {address}/%"),
                Some(IpAddr::V4(_)) | None => format!("ifconfig-push {address} %"),
            };
            let asked = [
                address.as_str().into(),
                written.into(),
                key.clone(),
                server.into(),
                server.into(),
            ];
            let others = tx.fetch(self.sql.address_of_another, &asked).await?;
            if let Some(row) = others.first() {
                let other = Cells::new(row, "users", "name").some_text("name")?;
                return Err(
                    StoreError::Exists(format!("address {address} of user `{other}`")).into()
                );
            }
            tx.execute(self.sql.free_address, &[address.as_str().into()]).await?;
        }
        args.push(address.as_deref().into());
        match tx.execute(self.sql.add_user_config, &args).await {
            Ok(_) => Ok(()),
            Err(SqlError::Unique) => {
                let address = address.unwrap_or_default();
                Err(StoreError::Exists(format!("address {address}")).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn lines(rows: &[Row]) -> Result<Vec<StoredLine>, StoreError> {
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, "client configuration", "option_line");
            stored(cells.some_text("server")?, cells.some_text("option_line")?)
                .ok_or_else(|| cells.corrupt("server", "is no name of a server"))
        })
        .collect()
}

/// What is gone and what is new, for the audit.
fn describe(before: &[StoredLine], after: &[NewLine]) -> String {
    let shown = |sign: char, line: &StoredLine| match &line.server {
        None => format!("{sign}{}", line.text),
        Some(server) => format!("{sign}[{server}] {}", line.text),
    };
    let is_gone = |line: &&StoredLine| !after.iter().any(|new| new.line == **line);
    let is_new = |new: &&NewLine| !before.contains(&new.line);
    let gone = before.iter().filter(is_gone).map(|line| shown('-', line));
    let new = after.iter().filter(is_new).map(|new| shown('+', &new.line));
    gone.chain(new).collect::<Vec<_>>().join("; ")
}
