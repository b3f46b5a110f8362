//! Users of other programs, on their way into ours.

use super::{NewUser, StoreError};
use crate::types::DeviceId;

/// A table, or view, of another program: what `import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignTable {
    /// `user` of Chocobozzz/OpenVPN-Admin.
    OpenvpnAdmin,
    /// `radcheck` of FreeRADIUS.
    RadCheck,
    /// `radusergroup` of FreeRADIUS.
    RadUserGroup,
    /// The view `import_users` that an operator makes of any table.
    View,
}

impl ForeignTable {
    /// The most rows that are read of one.
    pub const MOST: usize = 100_000;

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenvpnAdmin => "user",
            Self::RadCheck => "radcheck",
            Self::RadUserGroup => "radusergroup",
            Self::View => "import_users",
        }
    }

    /// The columns that are read, in order.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::OpenvpnAdmin => {
                &["user_id", "user_pass", "user_enable", "user_start_date", "user_end_date"]
            }
            Self::RadCheck => &["username", "attribute", "op", "value"],
            Self::RadUserGroup => &["username", "groupname", "priority"],
            Self::View => &[
                "name",
                "password_hash",
                "policy",
                "enabled",
                "valid_from",
                "valid_until",
                "devices",
            ],
        }
    }
}

/// A row of such a table: every cell as text, `None` for NULL.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignRow {
    /// By [`ForeignTable::columns`].
    pub cells: Vec<Option<String>>,
    /// Columns whose value is no text; their cells are `None`.
    pub unreadable: Vec<&'static str>,
}

/// A user to import, with its devices.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportedUser {
    /// The account.
    pub user: NewUser,
    /// Switched on.
    pub enabled: bool,
    /// Its devices; they are approved.
    pub devices: Vec<DeviceId>,
}

/// What the audit says of an import beside what was written.
#[derive(Debug, Clone, Copy)]
pub struct ImportNote<'a> {
    /// Where the users come from.
    pub source: &'a str,
    /// Users that were known to exist already, and left out.
    pub existing: u64,
    /// Rows that were refused, and left out.
    pub refused: u64,
}

/// What an import wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users added.
    pub users: u64,
    /// Devices added.
    pub devices: u64,
    /// Users that exist already and were left as they are.
    pub existing: u64,
}

/// More rows than are read at once.
pub(super) fn too_many(table: ForeignTable) -> StoreError {
    StoreError::Refused(format!("{} has more than {} rows", table.name(), ForeignTable::MOST))
}
