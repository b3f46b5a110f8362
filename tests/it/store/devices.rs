//! Devices, on every backend.

use std::sync::Arc;

use ovpn_warden::{
    store::{
        Actor, DeviceEnds, DeviceStatus, EnrolmentTerms, NewDevice, SessionRecord, StoreError,
    },
    types::{DeviceId, DeviceKind},
};

use super::bed::{Bed, MAC, UUID, at, by, id, name, session};

pub async fn a_device_is_registered_judged_and_removed(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    for text in [MAC, UUID] {
        let device = NewDevice {
            user: name("alice"),
            id: id(text),
            label: Some("Zo\u{eb}'s \u{1f4bb}".into()),
            valid_until: None,
            status: DeviceStatus::Pending,
        };
        store.add_device(&device, &by()).await.unwrap();
        let exists = StoreError::Exists(format!("device `{text}` of user `alice`"));
        assert_eq!(store.add_device(&device, &by()).await, Err(exists));
        let listed = store.devices(Some(&name("alice")), 10).await.unwrap();
        let [listed] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!(listed.identifier, text);
        assert_eq!(listed.kind == DeviceKind::Mac, text == MAC);
        assert_eq!(listed.label, device.label);
        assert_eq!((listed.status, listed.created_at), (DeviceStatus::Pending, at(0)));

        for status in [DeviceStatus::Blocked, DeviceStatus::Blocked, DeviceStatus::Approved] {
            let set = store.set_device_status(&name("alice"), &id(text), status, &by()).await;
            assert_eq!(set, Ok(()));
            let facts =
                store.facts(&name("alice"), Some(&id(text)), None, at(0)).await.unwrap().unwrap();
            assert_eq!(facts.device, Some(status));
        }
        store.remove_device(&name("alice"), &id(text), &by()).await.unwrap();
        let facts =
            store.facts(&name("alice"), Some(&id(text)), None, at(0)).await.unwrap().unwrap();
        assert_eq!(facts.device, None);
    }
}

pub async fn a_device_belongs_to_its_user_only(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    bed.add_user("bob").await;
    bed.add_device("alice", MAC).await;
    bed.add_device("alice", UUID).await;
    let facts = store.facts(&name("bob"), Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.device, None);
    // Ids are compared by bytes, too.
    let lower = id(&UUID.to_ascii_lowercase());
    let facts = store.facts(&name("alice"), Some(&lower), None, at(0)).await.unwrap().unwrap();
    assert_eq!(facts.device, None);

    let missing = StoreError::NotFound(format!("device `{MAC}` of user `bob`"));
    let blocked = DeviceStatus::Blocked;
    let (bob, carol) = (name("bob"), name("carol"));
    let set = store.set_device_status(&bob, &id(MAC), blocked, &by()).await;
    assert_eq!(set, Err(missing.clone()));
    assert_eq!(store.remove_device(&bob, &id(MAC), &by()).await, Err(missing));
    let nobody = StoreError::NotFound("user `carol`".into());
    assert_eq!(store.remove_device(&carol, &id(MAC), &by()).await, Err(nobody.clone()));
    let device =
        NewDevice { user: carol, id: id(MAC), label: None, status: blocked, valid_until: None };
    assert_eq!(store.add_device(&device, &by()).await, Err(nobody));
    assert_eq!(store.devices(None, 10).await.unwrap().len(), 2);
}

pub async fn devices_are_listed_by_user_and_age(bed: Arc<Bed>) {
    for (order, (user, mac)) in [
        ("bob", "02:00:00:00:00:01"),
        ("alice", "02:00:00:00:00:03"),
        ("alice", "02:00:00:00:00:02"),
    ]
    .into_iter()
    .enumerate()
    {
        if bed.store.user(&name(user)).await.unwrap().is_none() {
            bed.add_user(user).await;
        }
        let device = NewDevice {
            user: name(user),
            id: id(mac),
            label: None,
            status: DeviceStatus::Approved,
            valid_until: None,
        };
        let by = Actor { at: at(order as i64), ..by() };
        bed.store.add_device(&device, &by).await.unwrap();
    }
    let list = async |limit| {
        let devices = bed.store.devices(None, limit).await.unwrap();
        devices.into_iter().map(|d| d.identifier[15..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(10).await, ["03", "02", "01"]);
    assert_eq!(list(1).await, ["03"]);
    let nobody = bed.store.devices(Some(&name("carol")), 10).await.unwrap();
    assert_eq!(nobody, []);
}

pub async fn a_device_is_enrolled_once_and_closes_the_enrolment(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let alice = name("alice");
    let facts = async || store.facts(&alice, Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    let missing = store.open_enrolment(&name("bob"), Some(at(60)), &by()).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
    for until in [at(30), at(60)] {
        store.open_enrolment(&alice, Some(until), &by()).await.unwrap();
        assert_eq!(facts().await.enrolment_until, Some(until));
    }
    let new = |text: &str| NewDevice {
        user: alice.clone(),
        id: id(text),
        label: None,
        status: DeviceStatus::Approved,
        valid_until: None,
    };
    let terms = |known, by_window| EnrolmentTerms { known, by_window };
    let (approved, by) = (Ok(Some(DeviceStatus::Approved)), by());
    let others = store.enrol_device(&new(MAC), terms(3, true), &by).await;
    assert_eq!(others, Ok(None), "others were faster");
    let late = Actor { at: at(60), ..by.clone() };
    assert_eq!(store.enrol_device(&new(MAC), terms(0, true), &late).await, Ok(None), "too late");
    assert_eq!(store.enrol_device(&new(MAC), terms(0, true), &by).await, approved);
    let after = facts().await;
    assert_eq!((after.device, after.devices), (Some(DeviceStatus::Approved), 1));
    assert_eq!(after.enrolment_until, None);
    let again = NewDevice { status: DeviceStatus::Pending, ..new(MAC) };
    assert_eq!(store.enrol_device(&again, terms(0, false), &by).await, approved, "as it is");
    let second = store.enrol_device(&new(UUID), terms(1, true), &by).await;
    assert_eq!(second, Ok(None), "the window is used up");
    assert_eq!(store.enrol_device(&new(UUID), terms(1, false), &by).await, approved);
    store.open_enrolment(&alice, Some(at(60)), &by).await.unwrap();
    store.open_enrolment(&alice, None, &by).await.unwrap();
    assert_eq!(facts().await.enrolment_until, None);
}

pub async fn an_enrolment_approves_the_device_that_waits_for_it(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let alice = name("alice");
    let new = |text: &str, status| NewDevice {
        user: alice.clone(),
        id: id(text),
        label: None,
        status,
        valid_until: None,
    };
    let (pending, approved) = (DeviceStatus::Pending, DeviceStatus::Approved);
    let terms = |known, by_window| EnrolmentTerms { known, by_window };
    for text in [MAC, UUID] {
        let known = u32::from(text == UUID);
        let waits = store.enrol_device(&new(text, pending), terms(known, false), &by()).await;
        assert_eq!(waits, Ok(Some(pending)));
    }
    let by_window = terms(2, true);
    assert_eq!(store.enrol_device(&new(MAC, approved), by_window, &by()).await, Ok(None), "closed");
    store.open_enrolment(&alice, Some(at(60)), &by()).await.unwrap();
    let late = Actor { at: at(60), ..by() };
    assert_eq!(store.enrol_device(&new(MAC, approved), by_window, &late).await, Ok(None));
    assert_eq!(store.enrol_device(&new(MAC, approved), by_window, &by()).await, Ok(Some(approved)));
    let facts = store.facts(&alice, Some(&id(MAC)), None, at(0)).await.unwrap().unwrap();
    assert_eq!((facts.device, facts.enrolment_until), (Some(approved), None));
    // It was for one.
    assert_eq!(store.enrol_device(&new(UUID, approved), by_window, &by()).await, Ok(None));
    let audit = "SELECT detail FROM admin_audit WHERE action = 'device.enrol' ORDER BY id";
    assert_eq!(bed.texts(audit).await, ["status=pending", "status=pending", "status=approved"]);
}

pub async fn certificates_and_devices_are_counted_apart(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    let (alice, certificate) = (name("alice"), format!("sha256:{}", "0a".repeat(32)));
    let known = async |device: &str| {
        store.facts(&alice, Some(&id(device)), None, at(0)).await.unwrap().unwrap().devices
    };
    bed.add_device("alice", &certificate).await;
    assert_eq!((known(MAC).await, known(&certificate).await), (0, 1));
    let status = DeviceStatus::Approved;
    let first =
        NewDevice { user: alice.clone(), id: id(MAC), label: None, status, valid_until: None };
    let terms = EnrolmentTerms { known: 0, by_window: false };
    assert_eq!(store.enrol_device(&first, terms, &by()).await, Ok(Some(status)));
    assert_eq!((known(MAC).await, known(UUID).await, known(&certificate).await), (1, 1, 1));
}

pub async fn the_end_of_a_device_comes_with_the_facts_and_goes_with_it(bed: Arc<Bed>) {
    let store = &bed.store;
    bed.add_user("alice").await;
    bed.add_user("bob").await;
    let (alice, certificate) = (name("alice"), id(&format!("sha256:{}", "0a".repeat(32))));
    let DeviceId::Fingerprint(fingerprint) = certificate.clone() else { panic!() };
    bed.add_device("alice", MAC).await;
    bed.add_device("bob", MAC).await;
    bed.add_device("alice", &certificate.to_string()).await;
    let facts = async |user: &str| {
        let found = store.facts(&name(user), Some(&id(MAC)), Some(&fingerprint), at(0)).await;
        found.unwrap().unwrap().ends
    };
    assert_eq!(facts("alice").await, DeviceEnds::default());
    for until in [at(10), at(20)] {
        store.set_device_end(&alice, &id(MAC), Some(until), &by()).await.unwrap();
    }
    store.set_device_end(&alice, &certificate, Some(at(30)), &by()).await.unwrap();
    let ends = DeviceEnds { device: Some(at(20)), certificate: Some(at(30)) };
    assert_eq!(facts("alice").await, ends);
    assert_eq!(facts("bob").await, DeviceEnds::default(), "somebody else's");
    let running = SessionRecord { certificate: Some(fingerprint.clone()), ..session(1) };
    store.persist(std::slice::from_ref(&running)).await.unwrap();
    let standings = store.standings(std::slice::from_ref(&running.server)).await.unwrap();
    assert_eq!(standings[0].ends, ends);
    let listed = store.devices(Some(&alice), 9).await.unwrap();
    let mut listed: Vec<_> = listed.iter().map(|device| device.valid_until).collect();
    listed.sort_unstable();
    assert_eq!(listed, [Some(at(20)), Some(at(30))]);
    assert_eq!(store.devices(None, 9).await.unwrap().iter().flat_map(|d| d.valid_until).count(), 2);
    let unknown = store.set_device_end(&alice, &id(UUID), None, &by()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    store.set_device_end(&alice, &certificate, None, &by()).await.unwrap();
    store.remove_device(&alice, &id(MAC), &by()).await.unwrap();
    assert_eq!(facts("alice").await, DeviceEnds::default());
    let (status, valid_until) = (DeviceStatus::Approved, Some(at(40)));
    let device = NewDevice { user: alice.clone(), id: id(MAC), label: None, status, valid_until };
    store.add_device(&device, &by()).await.unwrap();
    assert_eq!(facts("alice").await.device, valid_until);
    store.remove_user(&alice, &by()).await.unwrap();
    assert_eq!(bed.texts("SELECT identifier FROM device_ends").await, [""; 0]);
}
