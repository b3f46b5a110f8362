//! What was approved, on a disk that is full.

use std::path::{Path, PathBuf};

use ovpn_warden::{
    store::{Approvals, SessionRecord},
    types::{SessionId, Timestamp},
};

use super::bed::session;
use crate::lab::Small;

fn on_a_small_disk(folder: &Path) -> (Small, PathBuf, Approvals) {
    let small = Small::mount(&folder.join("small"), "64k");
    let journal = small.path().join("journal.db");
    let own = SessionId::new(Timestamp::from_secs(1), [1; 10]);
    let approvals = Approvals::new(&journal, own, 0);
    (small, journal, approvals)
}

#[test]
fn a_line_that_a_full_disk_cuts_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (small, journal, mut approvals) = on_a_small_disk(folder.path());
    let mut kept: Vec<SessionRecord> = Vec::new();
    let mut add = |approvals: &mut Approvals, number| {
        let row = session(number);
        let is_kept = approvals.add(&Approvals::lines([&row])).is_ok();
        kept.extend(is_kept.then_some(row));
        is_kept
    };
    assert!(add(&mut approvals, 1));
    small.fill();
    // There is room in its page for some more, and for a part of the next one.
    let lost = (2..100).find(|number| !add(&mut approvals, *number)).unwrap();
    assert!((3..30).contains(&lost), "{lost}");
    assert!(!add(&mut approvals, 200));
    small.free();
    assert!(add(&mut approvals, 300));
    drop(approvals);
    let left = Approvals::left(&journal).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].sessions, kept);
}

#[test]
fn room_for_a_page_more_is_seen_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (small, journal, mut approvals) = on_a_small_disk(folder.path());
    approvals.add(&Approvals::lines([&session(1)])).unwrap();
    small.fill();
    assert!(!approvals.has_room(), "although a line more goes into its page");
    approvals.add(&Approvals::lines([&session(2)])).unwrap();
    small.free();
    assert!(approvals.has_room());
    approvals.add(&Approvals::lines([&session(3)])).unwrap();
    drop(approvals);
    let left = Approvals::left(&journal).unwrap();
    assert_eq!(left[0].sessions, [session(1), session(2), session(3)]);
}
