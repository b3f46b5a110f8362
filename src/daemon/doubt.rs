//! That there may be sessions which were not judged when the others were.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Raised by whoever finds so, taken by the poller.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    is_raised: AtomicBool,
    heard: Notify,
}

impl Doubt {
    pub(super) fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
        self.heard.notify_one();
    }

    /// Until it is raised.
    pub(super) async fn raised(&self) {
        self.heard.notified().await;
    }

    pub(super) fn take(&self) -> bool {
        self.is_raised.swap(false, Ordering::AcqRel)
    }
}
