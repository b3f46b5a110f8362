//! Has questions of one kind answered: one alone, those that come at the same moment together: shell.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::gather::{Gather, Next};
use crate::types::{Clock, Now};

/// Who answers them.
pub trait Desk: Send + Sync + 'static {
    type Ask: Send + 'static;

    fn waiting(&self) -> &Waiting<Self::Ask>;

    /// Answers these, whoever of their askers is still there.
    fn answer(self: &Arc<Self>, asks: Vec<Self::Ask>) -> impl Future<Output = ()> + Send;
}

/// Those that wait for their turn.
pub struct Waiting<T> {
    gather: Mutex<Gather<T>>,
    clock: Clock,
}

impl<T> Waiting<T> {
    /// So many are answered together at most, so often side by side, and fewer not so soon after those before.
    pub const fn new(most: usize, at_once: usize, pause: Duration, clock: Clock) -> Self {
        Self { gather: Mutex::new(Gather::new(most, at_once, pause)), clock }
    }

    fn gathered<R>(&self, change: impl FnOnce(&mut Gather<T>, Now) -> R) -> R {
        let mut gather = self.gather.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut gather, self.clock.now())
    }
}

/// Has one answered, with others if there are any.
pub fn ask<D: Desk>(desk: &Arc<D>, ask: D::Ask) {
    act(desk, desk.waiting().gathered(|gather, now| gather.push(ask, now)));
}

fn act<D: Desk>(desk: &Arc<D>, next: Next<D::Ask>) {
    let desk = Arc::clone(desk);
    match next {
        Next::Begin(asks) => {
            tokio::spawn(answer(desk, asks));
        }
        Next::Wait(pause) => {
            tokio::spawn(async move {
                sleep(pause).await;
                act(&desk, desk.waiting().gathered(Gather::due));
            });
        }
        Next::Nothing => {}
    }
}

/// Answers these, and then those that have come meanwhile. To the end even when the askers go
/// away: a login that is cancelled must not cost the connection it was using.
async fn answer<D: Desk>(desk: Arc<D>, asks: Vec<D::Ask>) {
    let mut next = Some(asks);
    while let Some(asks) = next {
        // After a fault its askers hear of it, and the others are asked.
        let _ = AssertUnwindSafe(desk.answer(asks)).catch_unwind().await;
        next = desk.waiting().gathered(Gather::ended);
    }
}
