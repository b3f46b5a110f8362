//! Places that two daemons give away at once, where a newer session replaces an older one; on every backend.

use std::{collections::BTreeSet, sync::Arc};

use ovpn_warden::{
    store::{Claim, OnLimit, Place, SessionRecord},
    types::DeviceId,
};

use super::bed::{Bed, MAC, at, id, name, session};

/// What was asked to leave: numbers of sessions, each once.
async fn asked_to_leave(bed: &Bed, of: std::ops::Range<u32>) -> BTreeSet<u32> {
    let commands = bed.store.pending_commands(&[session(1).server]).await.unwrap().commands;
    let number = |id| of.clone().find(|number| session(*number).id == id);
    commands.into_iter().filter_map(|command| number(command.session)).collect()
}

/// In each round two daemons let the same user in at the same moment, `devices` apart or not.
async fn rounds(bed: Arc<Bed>, on_limit: OnLimit, max: u32, devices: [&str; 2]) {
    bed.add_user("alice").await;
    let (alice, server) = (name("alice"), session(1).server);
    let stores = [bed.second(), bed.second()];
    for round in 0..8_u32 {
        let first = round * 10 + 1;
        let live = SessionRecord { device: Some(id(devices[0])), ..session(first) };
        bed.store.persist(&[live]).await.unwrap();
        let devices: [DeviceId; 2] = devices.map(id);
        let claim = |number: usize| Claim {
            session: session(first + 1 + number as u32).id,
            server: &server,
            user: &alice,
            device: Some(&devices[number]),
            max,
            on_limit,
            code: None,
        };
        let now = at(i64::from(first));
        let claims = [claim(0), claim(1)];
        let (one, two) =
            tokio::join!(stores[0].claim(&claims[0], now), stores[1].claim(&claims[1], now));
        assert_eq!((one, two), (Ok(Place::Taken), Ok(Place::Taken)), "round {round}");
        let left = asked_to_leave(&bed, first..first + 3).await;
        assert!(left.contains(&first), "the session of before, in round {round}: {left:?}");
        assert_eq!(left.len() as u32, 3 - max, "as many stay as may, in round {round}: {left:?}");
        let claims = bed.texts("SELECT session_id FROM session_claims").await;
        assert_eq!(claims.len() as u32, max, "in round {round}: {claims:?}");
        bed.sql("DELETE FROM session_claims; DELETE FROM sessions").await;
    }
}

pub async fn of_two_that_replace_the_oldest_at_once_one_stays(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceOldest, 1, [MAC, "0a:1a:2b:3c:4d:5e"]).await;
}

pub async fn two_that_replace_the_oldest_at_once_share_two_places(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceOldest, 2, [MAC, "0a:1a:2b:3c:4d:5e"]).await;
}

pub async fn of_two_of_one_device_at_once_one_stays(bed: Arc<Bed>) {
    rounds(bed, OnLimit::ReplaceSameDevice, 1, [MAC, MAC]).await;
}
