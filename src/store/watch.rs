//! Hears that a file was written, without looking at it again and again.

use std::{os::fd::OwnedFd, path::Path};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Tells once that something was written since it was made.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// `None` where the system does not tell, or where one of the files is not there.
    pub(super) fn on<'a>(files: impl IntoIterator<Item = &'a Path>) -> Option<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let changes = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            // A burst is one change.
            | WatchFlags::ONESHOT;
        for file in files {
            inotify::add_watch(&events, file, changes).ok()?;
        }
        #[expect(deprecated, reason = "of types that do not keep their descriptor; this one does")]
        let events = AsyncFd::new(events).ok()?;
        Some(Self(events))
    }

    /// Until something is written, or was already.
    pub async fn written(&self) {
        // It fails only with the runtime.
        let _ = self.0.readable().await;
    }
}
