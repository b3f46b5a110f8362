//! Time limits and ends, on every backend.

use std::{sync::Arc, time::Duration};

use ovpn_warden::store::{Options, StoreError, open};

use super::bed::{Backend, Bed, by, name, new_user, options, session};

pub async fn a_lock_that_is_held_too_long_makes_a_write_unavailable(bed: Arc<Bed>) {
    let impatient = open(&Options {
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_millis(400),
        ..options(&bed.url)
    })
    .unwrap();
    assert_eq!(impatient.ping().await, Ok(()));
    let (lock, unlock) = if bed.backend == Backend::Sqlite {
        ("BEGIN IMMEDIATE", "COMMIT")
    } else {
        ("LOCK TABLES users WRITE, sessions WRITE", "UNLOCK TABLES")
    };
    let mut holder = bed.raw().await;
    holder.run(lock).await;
    for written in [
        impatient.add_user(&new_user("alice"), &by()).await,
        impatient.persist(&[session(1)]).await,
    ] {
        assert_eq!(written, Err(StoreError::Unavailable("no answer within 400 ms".into())));
    }
    holder.run(unlock).await;
    let patient = bed.second();
    assert_eq!(patient.user(&name("alice")).await, Ok(None), "nothing was half-written");
    impatient.add_user(&new_user("alice"), &by()).await.unwrap();
    impatient.persist(&[session(1)]).await.unwrap();
}

pub async fn a_closed_store_says_so(bed: Arc<Bed>) {
    let store = bed.second();
    store.ping().await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(store.ping().await, Err(StoreError::Unavailable("closed".into())));
}
