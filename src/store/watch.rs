//! Hears that a file was written, without looking at it again and again.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::read,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Tells once that something was written since it was set. To be kept and set again: the system takes some
/// milliseconds to take one away.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Sets it on these files, as they are called now. `None` where the system does not tell, or where one of the
    /// files is not there.
    pub(super) fn on<'a>(
        kept: Option<Self>,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Option<Self> {
        let watch = kept.map_or_else(Self::new, Some)?;
        let changes = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            // A burst is one change.
            | WatchFlags::ONESHOT;
        // In this order: what is told from here on is kept.
        watch.forget();
        for file in files {
            inotify::add_watch(&watch.0, file, changes).ok()?;
        }
        Some(watch)
    }

    fn new() -> Option<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        #[expect(deprecated, reason = "of types that do not keep their descriptor; this one does")]
        let events = AsyncFd::new(events).ok()?;
        Some(Self(events))
    }

    /// Takes in what was told before.
    fn forget(&self) {
        let mut events = [0; 1024];
        let mut take = || self.0.try_io(Interest::READABLE, |fd| Ok(read(fd, &mut events)?));
        while take().is_ok_and(|length| length > 0) {}
    }

    /// Until something is written, or was already.
    pub async fn written(&self) {
        // It fails only with the runtime.
        if let Ok(mut told) = self.0.readable().await {
            told.retain_ready();
        }
    }
}
