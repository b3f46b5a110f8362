//! Users of other programs: their tables, and the one transaction that takes them over.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ovpn_warden::store::{
    DeviceStatus, ForeignRow, ForeignTable, ImportNote, Imported, ImportedUser, StoreError,
};

use super::bed::{Backend, Bed, MAC, at, by, id, name, new_user};

const NOTE: ImportNote<'_> = ImportNote { source: "csv people.csv", existing: 2, refused: 3 };

fn import(name: &str, devices: &[&str]) -> ImportedUser {
    let devices = devices.iter().map(|device| id(device)).collect();
    ImportedUser { user: new_user(name), enabled: true, devices }
}

async fn audit(bed: &Bed) -> Vec<String> {
    let list = if bed.backend == Backend::Sqlite {
        "SELECT action || '|' || target || '|' || detail FROM admin_audit ORDER BY id"
    } else {
        "SELECT CONCAT_WS('|', action, target, detail) FROM admin_audit ORDER BY id"
    };
    bed.texts(list).await
}

pub async fn an_import_adds_users_and_devices_and_leaves_who_is_there(bed: Arc<Bed>) {
    bed.store.add_user(&new_user("bob"), &by()).await.unwrap();
    bed.sql("DELETE FROM admin_audit").await;
    let mut off = import("zo\u{eb}", &[]);
    off.enabled = false;
    off.user.password_hash = None;
    off.user.valid_until = Some(at(9));
    let mut bob = import("bob", &[MAC]);
    bob.user.password_hash = Some("$2b$other".into());
    let users = [import("alice", &[MAC, "6B9FE2C1-7B1C-4C4B-9E0A-2F3D1C0B7A55"]), bob, off];
    let seen = AtomicUsize::new(0);
    let progress = |done| seen.store(done, Ordering::Relaxed);
    let imported = bed.store.import_users(&users, NOTE, &by(), &progress).await;
    assert_eq!(imported, Ok(Imported { users: 2, devices: 2, existing: 3 }));
    assert_eq!(seen.into_inner(), 3);
    let user = async |text| bed.store.user(&name(text)).await.unwrap().unwrap();
    let alice = user("alice").await;
    assert_eq!((alice.enabled, alice.password_changed_at), (true, Some(at(0))));
    let bob = user("bob").await;
    assert_eq!(bob.password_hash.as_deref(), Some("$argon2id$canary"), "he is left as he was");
    let zoe = user("zo\u{eb}").await;
    assert_eq!((zoe.enabled, zoe.password_hash, zoe.valid_until), (false, None, Some(at(9))));
    assert_eq!(zoe.password_changed_at, None);
    let devices = bed.store.devices(None, 10).await.unwrap();
    assert_eq!(devices.len(), 2);
    assert!(devices.iter().all(|d| d.user == name("alice") && d.status == DeviceStatus::Approved));
    let row = "import|csv people.csv|users=2 devices=2 existing=3 refused=3";
    assert_eq!(audit(&bed).await, [row]);
}

pub async fn an_import_that_fails_at_its_end_has_written_nothing(bed: Arc<Bed>) {
    let nobody = async |error: StoreError, users: &[ImportedUser]| {
        let imported = bed.store.import_users(users, NOTE, &by(), &|_| {}).await;
        assert_eq!(imported, Err(error));
        assert!(bed.store.user(&name("alice")).await.unwrap().is_none());
        assert!(bed.store.devices(None, 10).await.unwrap().is_empty());
        assert_eq!(audit(&bed).await, [""; 0]);
    };
    let mut lost = import("zoe", &[]);
    lost.user.policy = Some("gone".into());
    let gone = StoreError::NotFound("policy `gone`".into());
    nobody(gone, &[import("alice", &[MAC]), lost]).await;
    // The same device twice breaks a unique key, after a whole user was written.
    let twice = StoreError::Refused("a unique key is taken".into());
    nobody(twice, &[import("alice", &[MAC]), import("bob", &[MAC, MAC])]).await;
}

fn cells(row: &ForeignRow) -> Vec<&str> {
    row.cells.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect()
}

pub async fn tables_of_other_programs_are_read_as_text(bed: Arc<Bed>) {
    for table in [ForeignTable::OpenvpnAdmin, ForeignTable::RadCheck, ForeignTable::View] {
        let missing = bed.store.foreign(table).await;
        assert!(matches!(missing, Err(StoreError::Schema(_))), "{:?}", missing.err());
    }
    let sqlite = bed.backend == Backend::Sqlite;
    let (key, date, zero, binary) = match sqlite {
        true => ("INTEGER PRIMARY KEY", "TEXT", "'0000-00-00'", "BLOB"),
        false => {
            ("INT UNSIGNED AUTO_INCREMENT PRIMARY KEY", "DATE", "'0000-00-00'", "VARBINARY(99)")
        }
    };
    let mode = if sqlite { "" } else { "SET SESSION sql_mode = '';" };
    bed.sql(&format!(
        "{mode}
        CREATE TABLE user (user_id VARCHAR(32) NOT NULL PRIMARY KEY, user_pass VARCHAR(255),
            user_mail VARCHAR(64), user_online INT, user_enable INT NOT NULL,
            user_start_date {date}, user_end_date {date});
        INSERT INTO user VALUES ('al', '$2y$10$x', NULL, 0, 1, {zero}, '2026-12-31'),
            ('zo\u{eb}', '', NULL, 0, 0, NULL, NULL);
        CREATE TABLE radcheck (id {key}, username VARCHAR(64) NOT NULL, attribute VARCHAR(64) NOT NULL,
            op CHAR(2) NOT NULL, value VARCHAR(253) NOT NULL);
        INSERT INTO radcheck (username, attribute, op, value) VALUES
            ('bo', 'NT-Password', ':=', 'ff'), ('al', 'Expiration', ':=', '24 Dec 2026');
        CREATE TABLE radusergroup (username VARCHAR(64) NOT NULL, groupname VARCHAR(64) NOT NULL,
            priority INT NOT NULL);
        INSERT INTO radusergroup VALUES ('bo', 'staff', 2), ('bo', 'guests', 1);
        CREATE TABLE staff (login VARCHAR(64), pw {binary}, mac VARCHAR(64));
        INSERT INTO staff VALUES ('al', '$2b$', '{MAC}'), ('bo', x'ff00', NULL);
        CREATE VIEW import_users AS SELECT login AS name, pw AS password_hash, NULL AS policy,
            1 AS enabled, NULL AS valid_from, '2026-12-31 18:00:00' AS valid_until, mac AS devices
            FROM staff;"
    ))
    .await;
    let rows = async |table| bed.store.foreign(table).await.unwrap();
    let admin = rows(ForeignTable::OpenvpnAdmin).await;
    assert_eq!(cells(&admin[0]), ["al", "$2y$10$x", "1", "0000-00-00", "2026-12-31"]);
    assert_eq!(cells(&admin[1]), ["zo\u{eb}", "", "0", "NULL", "NULL"]);
    let checks = rows(ForeignTable::RadCheck).await;
    assert_eq!(cells(&checks[0]), ["al", "Expiration", ":=", "24 Dec 2026"]);
    assert_eq!(cells(&checks[1]), ["bo", "NT-Password", ":=", "ff"]);
    let groups = rows(ForeignTable::RadUserGroup).await;
    assert_eq!(cells(&groups[0]), ["bo", "guests", "1"]);
    assert_eq!(cells(&groups[1]), ["bo", "staff", "2"]);
    let view = rows(ForeignTable::View).await;
    assert_eq!(cells(&view[0]), ["al", "$2b$", "NULL", "1", "NULL", "2026-12-31 18:00:00", MAC]);
    assert_eq!(view[1].unreadable, ["password_hash"]);
    assert_eq!(view[1].cells[1], None, "bytes that are no text are told, not taken for NULL");
}
