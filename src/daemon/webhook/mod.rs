//! The webhook: what happens to sessions, told to another program by HTTP.
//!
//! Links only put notices into a queue, which drops its oldest one when it is full; one task sends
//! them, in their order, again and again until they are taken, are refused or are too old.

mod client;
mod notice;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    telemetry::events::Event,
    types::{Clock, Mono, Timestamp},
};

use super::backoff::Backoff;
pub(super) use client::Client;
use notice::Notice;

/// A notice that is not taken for so long is worth nothing.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// How often a receiver that answers may fail over one notice.
const MAX_FAILURES: u32 = 10;
/// Between two lines about dropped notices.
const TELL: Duration = Duration::from_secs(60);
/// How long the last notices may take when the daemon stops.
const LAST_SEND: Duration = Duration::from_secs(2);

/// Where links put what is to be told. Never blocks.
pub(super) struct Webhook {
    events: Vec<&'static str>,
    limit: usize,
    clock: Clock,
    queue: Mutex<Queue>,
    ready: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Notice>>,
    dropped: u64,
    /// Why the last one was.
    reason: String,
}

/// Why a notice was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer.
    Unreachable(String),
    /// The receiver says that it cannot take it now.
    Failing(String),
    /// The receiver will never take it.
    Refused(String),
}

/// Who delivers a notice, once.
pub(super) trait Deliver: Send + Sync + 'static {
    fn deliver(
        &self,
        notice: &Notice,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl Webhook {
    pub(super) fn new(events: Vec<&'static str>, limit: usize, clock: Clock) -> Self {
        Self { events, limit, clock, queue: Mutex::default(), ready: Notify::new() }
    }

    /// Takes an event in, if it is one of those to tell.
    pub(super) fn offer(&self, event: &Event) {
        let now = self.clock.now();
        let Some(notice) = Notice::of(event, now).filter(|n| self.events.contains(&n.event)) else {
            return;
        };
        let mut queue = self.queue();
        queue.waiting.push_back(Arc::new(notice));
        if queue.waiting.len() > self.limit {
            queue.waiting.pop_front();
            queue.count(1, "more wait than webhook.queue holds");
        }
        drop(queue);
        self.ready.notify_one();
    }

    fn first(&self) -> Option<Arc<Notice>> {
        self.queue().waiting.front().cloned()
    }

    /// Takes one off, unless it was dropped meanwhile.
    fn remove(&self, notice: &Arc<Notice>) -> bool {
        let mut queue = self.queue();
        let is_first = queue.waiting.front().is_some_and(|first| Arc::ptr_eq(first, notice));
        if is_first {
            queue.waiting.pop_front();
        }
        is_first
    }

    fn drop_one(&self, notice: &Arc<Notice>, reason: &str) {
        if self.remove(notice) {
            self.queue().count(1, reason);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn count(&mut self, dropped: u64, reason: &str) {
        self.dropped += dropped;
        reason.clone_into(&mut self.reason);
    }
}

/// The task that sends.
pub(super) struct Sender<D> {
    webhook: Arc<Webhook>,
    deliver: D,
    backoff: Backoff,
    /// Failures over the present notice, of a receiver that answers.
    failures: u32,
    /// Operators were told that the receiver cannot be reached.
    is_told: bool,
    /// When dropped notices were last told of.
    told_dropped: Option<Mono>,
}

impl<D: Deliver> Sender<D> {
    pub(super) fn new(webhook: Arc<Webhook>, deliver: D) -> Self {
        Self {
            webhook,
            deliver,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            failures: 0,
            is_told: false,
            told_dropped: None,
        }
    }

    /// Sends until `stop`, then for a moment what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let webhook = Arc::clone(&self.webhook);
        while !stop.is_cancelled() {
            let Some(notice) = webhook.first() else {
                self.tell_dropped(TELL);
                tokio::select! {
                    () = webhook.ready.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            };
            let is_done = tokio::select! {
                is_done = self.send(&notice) => is_done,
                () = stop.cancelled() => break,
            };
            self.tell_dropped(TELL);
            if !is_done {
                tokio::select! {
                    () = sleep(self.backoff.pause()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        let last = async {
            while let Some(notice) = webhook.first()
                && self.send(&notice).await
            {}
        };
        // What a receiver does not take in time is lost, and counted.
        let _ = timeout(LAST_SEND, last).await;
        let left = webhook.queue().waiting.len();
        if left > 0 {
            webhook.queue().count(left as u64, "the daemon stops");
        }
        self.tell_dropped(Duration::ZERO);
    }

    /// Whether the next one may follow at once.
    async fn send(&mut self, notice: &Arc<Notice>) -> bool {
        let now = self.webhook.clock.now();
        if now.mono - notice.since > MAX_AGE {
            self.webhook.drop_one(notice, "nobody took it within an hour");
            return true;
        }
        match self.deliver.deliver(notice, now.utc).await {
            Ok(()) => {
                self.webhook.remove(notice);
                self.backoff.reset();
                (self.failures, self.is_told) = (0, false);
                true
            }
            Err(Fault::Refused(error)) => {
                self.webhook.drop_one(notice, &error);
                self.failures = 0;
                true
            }
            Err(Fault::Failing(error)) => {
                self.failures += 1;
                let gives_up = self.failures >= MAX_FAILURES;
                if gives_up {
                    self.webhook.drop_one(notice, &error);
                    self.failures = 0;
                }
                self.tell(error);
                gives_up
            }
            Err(Fault::Unreachable(error)) => {
                self.tell(error);
                false
            }
        }
    }

    /// Tells once that the receiver fails.
    fn tell(&mut self, error: String) {
        if !std::mem::replace(&mut self.is_told, true) {
            let pending = self.webhook.queue().waiting.len();
            Event::WebhookFailed { error, pending }.emit();
        }
    }

    /// Tells how many were dropped, once in a while.
    fn tell_dropped(&mut self, pause: Duration) {
        let now = self.webhook.clock.now().mono;
        if self.told_dropped.is_some_and(|at| now - at < pause) {
            return;
        }
        let mut queue = self.webhook.queue();
        let dropped = std::mem::take(&mut queue.dropped);
        if dropped > 0 {
            self.told_dropped = Some(now);
            let error = std::mem::take(&mut queue.reason);
            drop(queue);
            Event::WebhookDropped { dropped, error }.emit();
        }
    }
}

#[cfg(test)]
mod tests;
