//! A bar for a person who waits.

use std::{io::IsTerminal, sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::types::{Clock, Mono};

/// Nobody needs a bar for less.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shown on standard error, if that is a terminal, once it takes long.
pub struct Progress {
    clock: Clock,
    start: Mono,
    users: u64,
    for_people: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    pub fn new(clock: Clock, users: usize, quiet: bool) -> Self {
        let for_people = !quiet && std::io::stderr().is_terminal();
        let start = clock.now().mono;
        Self { clock, start, users: users as u64, for_people, bar: Mutex::new(None) }
    }

    /// So many are done.
    pub fn tell(&self, done: usize) {
        if !self.for_people || self.clock.now().mono - self.start < PATIENCE {
            return;
        }
        // Nothing panics while it is held.
        let Ok(mut bar) = self.bar.lock() else { return };
        bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(Some(self.users), ProgressDrawTarget::stderr())
        })
        .set_position(done as u64);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}
