//! An operator's own tables in place of `users` and `devices`, by views.

use std::sync::Arc;

use futures_util::future::join_all;
use ovpn_warden::{
    store::{Claim, DeviceStatus, NewDevice, OnLimit, Place, Schema, StoreError, UserPatch},
    types::Timestamp,
};

use super::{
    bed::{Backend, Bed, MAC, at, by, id, name, new_user, session},
    servers::on_servers,
};

on_servers! {
    an_operators_own_tables_serve_by_views
    two_rows_of_one_name_are_bad_data
}

/// Other types, another character set, a collation that takes `ZOË` for `zoe`.
const OWN_TABLES: &str = "
    DROP TABLE devices;
    DROP TABLE users;
    CREATE TABLE staff (
        nr INT UNSIGNED NOT NULL PRIMARY KEY,
        login VARCHAR(64) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL,
        pw VARBINARY(255) NULL,
        groupname ENUM('default', 'staff') CHARACTER SET latin1 NULL,
        active TINYINT UNSIGNED NOT NULL,
        last_day DATE NULL,
        made TIMESTAMP NOT NULL,
        KEY (login)
    );
    CREATE TABLE laptops (staff_nr INT UNSIGNED NOT NULL, mac CHAR(17) NOT NULL, stolen BIT(1));
    CREATE VIEW users AS
        SELECT nr AS id, login AS name, pw AS password_hash, groupname AS policy,
               active AS enabled, NULL AS valid_from, last_day AS valid_until,
               NULL AS password_changed_at, made AS created_at, made AS updated_at
        FROM staff;
    CREATE VIEW devices AS
        SELECT staff_nr AS user_id, 'mac' AS kind,
               LOWER(REPLACE(mac, '-', ':')) AS identifier, NULL AS label,
               IF(stolen, 'blocked', 'approved') AS status,
               CAST('2026-01-01' AS DATETIME) AS created_at,
               CAST('2026-01-01' AS DATETIME) AS updated_at
        FROM laptops;
    INSERT INTO staff VALUES
        (7, 'zo\u{eb}', '$argon2id$canary', 'staff', 1, '2027-12-31', '2026-01-01 00:00:00'),
        (8, 'bob', NULL, NULL, 0, NULL, '2026-01-01 00:00:00');
    INSERT INTO laptops VALUES (7, '02-1A-2B-3C-4D-5E', 0), (7, '02-1A-2B-3C-4D-5F', 1);
    INSERT INTO policies (name, session_limit_s, created_at, updated_at)
        VALUES ('staff', 60, '2026-01-01', '2026-01-01');
";

async fn an_operators_own_tables_serve_by_views(bed: Arc<Bed>) {
    bed.sql(OWN_TABLES).await;
    let store = &bed.store;
    let zoe = name("zo\u{eb}");
    assert_eq!(store.schema().await, Ok(Schema::Current));
    store.persist(&[session(1)]).await.unwrap();
    assert_eq!(store.fact_trace().await, Ok(None), "views do not tell when they were written");
    bed.sql("DELETE FROM sessions").await;
    let facts = store.facts(&zoe, Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    assert_eq!((facts.user.id, facts.user.enabled), (7, true));
    assert_eq!(facts.user.password_hash.as_deref(), Some("$argon2id$canary"));
    assert_eq!(facts.policy.session_limit_s, Some(60));
    assert_eq!(facts.device, Some(DeviceStatus::Approved));
    let last_day = Timestamp::parse("2027-12-31", at(0)).unwrap();
    assert_eq!(facts.user.valid_until, Some(last_day));
    let blocked = id("02:1a:2b:3c:4d:5f");
    let facts = store.facts(&zoe, Some(&blocked), None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.device, Some(DeviceStatus::Blocked));
    let facts = store.facts(&name("bob"), Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    assert_eq!((facts.user.enabled, facts.device), (false, None));
    assert_eq!(facts.policy.name, "default");
    let server = session(1).server;
    let claim = |number: u32, user| Claim {
        session: session(number).id,
        server: &server,
        user,
        device: None,
        max: 1,
        on_limit: OnLimit::Deny,
        code: None,
    };
    let names = ["zo\u{eb}", "bob", "Bob", "zoe", "b\u{14d}b", "bob ", "nobody"].map(name);
    let claims: Vec<_> = (1..).zip(&names).map(|(number, user)| claim(number, user)).collect();
    let places = join_all(claims.iter().map(|claim| store.claim(claim, at(0)))).await;
    for (user, place) in names.iter().zip(places) {
        match user.as_str() {
            "zo\u{eb}" | "bob" => assert_eq!(place, Ok(Place::Taken), "{user}"),
            _ => assert_eq!(place, Err(StoreError::NotFound(format!("user `{user}`")))),
        }
    }
    assert_eq!(store.has_place(&claim(9, &zoe), at(0)).await, Ok(false));
    for other in ["ZO\u{cb}", "zoe", "zo\u{eb} ", "Bob", "bob ", "b\u{14d}b", "\u{1f9d1}"] {
        assert_eq!(store.facts(&name(other), None, None, at(0)).await, Ok(None), "{other}");
        assert_eq!(store.user(&name(other)).await, Ok(None), "{other}");
        let upgraded = store.upgrade_hash(&name(other), "$argon2id$canary", "x", at(0)).await;
        assert_eq!(upgraded, Ok(false), "{other}");
    }
    // At the same moment each hears the same; a name that the table cannot hold is nobody else's fault.
    let names = ["bob", "Bob", "zo\u{eb}", "\u{1f9d1}", "bob ", "zoe", "bob"].map(name);
    let asked = names.iter().map(|name| store.facts(name, None, None, at(0)));
    let found: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(|facts| facts.unwrap().map(|facts| facts.user.id))
        .collect();
    assert_eq!(found, [Some(8), None, Some(7), None, None, None, Some(8)]);
    assert_eq!(store.users(None, 10).await.unwrap().len(), 2);
    assert_eq!(store.devices(Some(&zoe), 10).await.unwrap().len(), 2);

    // A view of one table can be written to: hashes are upgraded, accounts switched off.
    assert!(store.upgrade_hash(&zoe, "$argon2id$canary", "$argon2id$new", at(0)).await.unwrap());
    assert_eq!(bed.texts("SELECT pw FROM staff WHERE nr = 7").await, ["$argon2id$new"]);
    let off = UserPatch { enabled: Some(false), ..UserPatch::default() };
    store.patch_user(&zoe, &off, &by()).await.unwrap();
    assert_eq!(bed.texts("SELECT active FROM staff WHERE nr = 7").await, ["0"]);
    let password =
        UserPatch { password_hash: Some("$argon2id$mine".into()), ..UserPatch::default() };
    store.patch_user(&zoe, &password, &by()).await.unwrap();
    assert_eq!(bed.texts("SELECT pw FROM staff WHERE nr = 7").await, ["$argon2id$mine"]);
    let last = Timestamp::parse("2028-12-31", at(0)).unwrap();
    let until = UserPatch { valid_until: Some(Some(last)), ..UserPatch::default() };
    store.patch_user(&zoe, &until, &by()).await.unwrap();
    assert_eq!(store.user(&zoe).await.unwrap().unwrap().valid_until, Some(last));
    let audited = bed.texts("SELECT detail FROM admin_audit WHERE action = 'user.set'").await;
    assert_eq!(audited.len(), 3);
    // A view has no place for it: it is refused, and with it what else was asked for.
    let from =
        UserPatch { valid_from: Some(Some(at(0))), enabled: Some(true), ..UserPatch::default() };
    let refused = store.patch_user(&zoe, &from, &by()).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(text)) if text.contains("valid_from")),
        "{refused:?}"
    );
    assert_eq!(bed.texts("SELECT active FROM staff WHERE nr = 7").await, ["0"]);
    bed.sql("DELETE FROM admin_audit").await;
    // What cannot be written says so and leaves nothing behind.
    let device = NewDevice {
        user: zoe,
        id: id("02:00:00:00:00:01"),
        label: None,
        status: DeviceStatus::Approved,
        valid_until: None,
    };
    let refused =
        [store.add_user(&new_user("carol"), &by()).await, store.add_device(&device, &by()).await];
    for refused in refused {
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(bed.texts("SELECT action FROM admin_audit").await, Vec::<String>::new());
    store.persist(&[session(1)]).await.unwrap();
    assert_eq!(
        store.remove_policy("staff", &by()).await.map_err(|e| e.to_string()),
        Err("policy `staff` is in use".into())
    );
}

async fn two_rows_of_one_name_are_bad_data(bed: Arc<Bed>) {
    bed.sql(OWN_TABLES).await;
    bed.sql(
        "INSERT INTO staff SELECT 9, login, pw, groupname, 1, NULL, made FROM staff WHERE nr = 8",
    )
    .await;
    let facts = bed.store.facts(&name("bob"), None, None, at(0)).await;
    let text = "users.name where name is `bob`: is there twice";
    assert_eq!(facts, Err(StoreError::Corrupt(text.into())));
    // Another spelling is another user.
    bed.sql("UPDATE staff SET login = 'BOB' WHERE nr = 9").await;
    let facts = bed.store.facts(&name("bob"), None, None, at(0)).await.unwrap().unwrap();
    assert_eq!((facts.user.id, facts.user.enabled), (8, false));
    bed.sql("INSERT INTO laptops VALUES (8, '02-1A-2B-3C-4D-5E', 0), (8, '02:1a:2b:3c:4d:5e', 1)")
        .await;
    let facts = bed.store.facts(&name("bob"), Some(&id(MAC)), None, at(0)).await;
    assert!(matches!(facts, Err(StoreError::Corrupt(_))), "{facts:?}");
}
