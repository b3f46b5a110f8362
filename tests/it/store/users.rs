//! Users, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{NewUser, StoreError, UserPatch},
    types::Timestamp,
};

use super::bed::{Backend, Bed, MAC, at, by, id, name, new_user, session};

pub async fn a_user_is_added_read_changed_and_removed(bed: Arc<Bed>) {
    let store = &bed.store;
    let user =
        NewUser { valid_from: Some(at(1)), valid_until: Some(Timestamp::MAX), ..new_user("alice") };
    store.add_user(&user, &by()).await.unwrap();
    let read = store.user(&name("alice")).await.unwrap().unwrap();
    assert_eq!(read.name, name("alice"));
    assert_eq!(read.password_hash.as_deref(), Some("$argon2id$canary"));
    assert_eq!(read.policy, "default");
    assert!(read.enabled);
    assert_eq!(read.valid_from, Some(at(1)));
    assert_eq!(read.valid_until, Some(Timestamp::MAX));
    assert_eq!((read.created_at, read.updated_at), (at(0), at(0)));

    let patch = UserPatch { enabled: Some(false), valid_until: Some(None), ..UserPatch::default() };
    let mut later = by();
    later.at = at(7);
    store.patch_user(&name("alice"), &patch, &later).await.unwrap();
    let changed = store.user(&name("alice")).await.unwrap().unwrap();
    assert!(!changed.enabled);
    assert_eq!((changed.valid_from, changed.valid_until), (Some(at(1)), None));
    assert_eq!(changed.password_hash, read.password_hash);
    assert_eq!((changed.created_at, changed.updated_at), (at(0), at(7)));

    store.remove_user(&name("alice"), &by()).await.unwrap();
    assert!(store.user(&name("alice")).await.unwrap().is_none());
    let gone = Err(StoreError::NotFound("user `alice`".into()));
    assert_eq!(store.remove_user(&name("alice"), &by()).await, gone);
    assert_eq!(store.patch_user(&name("alice"), &patch, &by()).await, gone);
}

pub async fn password_hashes_come_in_pages_and_one_that_cannot_be_read_hides_no_other(
    bed: Arc<Bed>,
) {
    for name in ["carol", "alice", "bob"] {
        bed.add_user(name).await;
    }
    bed.sql("UPDATE users SET enabled = 7, password_hash = NULL WHERE name = 'alice'").await;
    if bed.backend == Backend::Sqlite {
        bed.sql("UPDATE users SET password_hash = CAST(X'ff' AS TEXT) WHERE name = 'bob'").await;
    }
    let canary = || Ok(Some("$argon2id$canary".to_owned()));
    let spoilt = match bed.backend {
        Backend::Sqlite => {
            let place = "users.password_hash where name is `bob`: is not UTF-8";
            Err(StoreError::Corrupt(place.to_owned()))
        }
        Backend::MariaDb | Backend::MySql => canary(),
    };
    let mut hashes = Vec::new();
    let mut after = i64::MIN;
    loop {
        let page = bed.store.password_hashes(after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        hashes.extend(page.into_iter().map(|(_, hash)| hash));
    }
    assert_eq!(hashes, [canary(), Ok(None), spoilt]);
}

pub async fn names_are_compared_byte_by_byte(bed: Arc<Bed>) {
    let store = &bed.store;
    // The same letter composed and decomposed, and one that folds to `alice` in many collations.
    let names = ["alice", "Alice", "zo\u{eb}", "zoe\u{308}", "\u{e1}lice"];
    for name in names {
        bed.add_user(name).await;
    }
    for text in names {
        let read = store.user(&name(text)).await.unwrap().unwrap();
        assert_eq!(read.name.as_str(), text);
        let facts = store.facts(&name(text), None, None, at(0)).await.unwrap().unwrap();
        assert_eq!(facts.user, read);
    }
    for text in ["alice ", " alice", "ALICE", "zoe", "alice\u{200b}", "%", "alic_"] {
        assert!(store.facts(&name(text), None, None, at(0)).await.unwrap().is_none(), "{text}");
        assert!(store.user(&name(text)).await.unwrap().is_none(), "{text}");
        let missing = Err(StoreError::NotFound(format!("user `{text}`")));
        let nothing = UserPatch::default();
        assert_eq!(store.patch_user(&name(text), &nothing, &by()).await, missing);
        assert_eq!(store.remove_user(&name(text), &by()).await, missing);
        assert!(!store.upgrade_hash(&name(text), "$argon2id$canary", "x", at(0)).await.unwrap());
    }
    // In MySQL's unique index trailing spaces do not count: two such names cannot be told apart
    // by every tool, so the second one is refused.
    let with_space = store.add_user(&new_user("alice "), &by()).await;
    if bed.backend == Backend::Sqlite {
        assert_eq!(with_space, Ok(()));
    } else {
        assert_eq!(with_space, Err(StoreError::Exists("user `alice `".into())));
    }
}

pub async fn names_of_128_bytes_and_all_of_unicode_are_kept(bed: Arc<Bed>) {
    for text in ["\u{1f9d1}".repeat(32), "x".repeat(128), "\u{5d0}\u{202e}'\"\\;--".into()] {
        bed.add_user(&text).await;
        bed.add_device(&text, MAC).await;
        let facts =
            bed.store.facts(&name(&text), Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
        assert_eq!(facts.user.name.as_str(), text);
        assert!(facts.device.is_some());
        bed.store.remove_user(&name(&text), &by()).await.unwrap();
    }
}

pub async fn a_second_user_of_a_name_is_refused(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    assert_eq!(
        bed.store.add_user(&new_user("alice"), &by()).await,
        Err(StoreError::Exists("user `alice`".into()))
    );
}

pub async fn a_user_needs_a_policy_that_is_there(bed: Arc<Bed>) {
    let user = |policy: &str| NewUser { policy: Some(policy.into()), ..new_user("alice") };
    let missing = |policy: &str| Err(StoreError::NotFound(format!("policy `{policy}`")));
    for policy in ["staff", "Default", "default "] {
        let added = bed.store.add_user(&user(policy), &by()).await;
        assert_eq!(added, missing(policy));
    }
    bed.store.add_user(&user("default"), &by()).await.unwrap();
    let patch =
        UserPatch { policy: Some("staff".into()), enabled: Some(false), ..UserPatch::default() };
    let patched = bed.store.patch_user(&name("alice"), &patch, &by()).await;
    assert_eq!(patched, missing("staff"));
    let user = bed.store.user(&name("alice")).await.unwrap().unwrap();
    assert!(user.enabled, "nothing of a refused change is kept");
}

pub async fn users_come_in_pages_by_name(bed: Arc<Bed>) {
    for name in ["b", "a", "\u{e4}", "B", "c"] {
        bed.add_user(name).await;
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = bed.store.users(after.as_ref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        names.extend(page.into_iter().map(|user| user.name.to_string()));
    }
    assert_eq!(names, ["B", "a", "b", "c", "\u{e4}"]);
}

pub async fn a_hash_is_replaced_only_if_it_is_the_known_one(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let (store, alice) = (&bed.store, name("alice"));
    let hash = async || store.user(&alice).await.unwrap().unwrap().password_hash;
    for other in ["$argon2id$Canary", "$argon2id$canary ", ""] {
        assert!(!store.upgrade_hash(&alice, other, "new", at(5)).await.unwrap());
    }
    assert_eq!(hash().await.as_deref(), Some("$argon2id$canary"));
    assert!(store.upgrade_hash(&alice, "$argon2id$canary", "new", at(5)).await.unwrap());
    assert_eq!(hash().await.as_deref(), Some("new"));
    assert!(!store.upgrade_hash(&alice, "$argon2id$canary", "newer", at(6)).await.unwrap());
    let user = store.user(&alice).await.unwrap().unwrap();
    assert_eq!(user.updated_at, at(5));
}

pub async fn removing_a_user_removes_its_devices_and_keeps_its_sessions(bed: Arc<Bed>) {
    for user in ["alice", "bob"] {
        bed.add_user(user).await;
        bed.add_device(user, MAC).await;
    }
    bed.store.persist(&[session(1)]).await.unwrap();
    bed.store.remove_user(&name("alice"), &by()).await.unwrap();
    let devices = bed.store.devices(None, 10).await.unwrap();
    let owners: Vec<_> = devices.iter().map(|d| d.user.as_str()).collect();
    assert_eq!(owners, ["bob"]);
    assert!(bed.store.session(session(1).id).await.unwrap().is_some());
    bed.add_user("alice").await;
    let facts =
        bed.store.facts(&name("alice"), Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.device, None, "a new user of the name does not inherit them");
}

pub async fn changes_are_audited_without_secrets(bed: Arc<Bed>) {
    bed.add_user("alice").await;
    let patch = UserPatch {
        password_hash: Some("$argon2id$second".into()),
        enabled: Some(false),
        ..UserPatch::default()
    };
    bed.store.patch_user(&name("alice"), &patch, &by()).await.unwrap();
    // What is refused changes nothing, and is no change to be audited.
    let _ = bed.store.add_user(&new_user("alice"), &by()).await;
    bed.store.remove_user(&name("alice"), &by()).await.unwrap();
    let list = if bed.backend == Backend::Sqlite {
        "SELECT actor || '|' || action || '|' || target || '|' || COALESCE(detail, '') \
         FROM admin_audit ORDER BY id"
    } else {
        "SELECT CONCAT_WS('|', actor, action, target, COALESCE(detail, '')) \
         FROM admin_audit ORDER BY id"
    };
    assert_eq!(
        bed.texts(list).await,
        [
            "cli:test|user.add|alice|",
            "cli:test|user.set|alice|password enabled=false",
            "cli:test|user.remove|alice|",
        ]
    );
}
