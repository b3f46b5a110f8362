//! Something to look at for a person who waits.

use std::{borrow::Cow, io::IsTerminal, pin::pin, sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::types::{Clock, Mono};

/// Nobody needs a bar for less.
const PATIENCE: Duration = Duration::from_secs(1);
const BAR: &str = "{msg} {wide_bar} {pos}/{len}";
const SPINNER: &str = "{spinner} {msg} {elapsed} {pos}";
/// How often what has no steps of its own is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Shown on standard error, if that is a terminal, once it takes long.
pub struct Progress {
    clock: Clock,
    start: Mono,
    /// How many there are to do, where that is known.
    all: Option<u64>,
    what: Cow<'static, str>,
    for_people: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    /// A bar for so many steps, or how long it takes and how many steps it took where nobody knows.
    pub fn new(
        clock: Clock,
        what: impl Into<Cow<'static, str>>,
        all: Option<usize>,
        quiet: bool,
    ) -> Self {
        let for_people = !quiet && std::io::stderr().is_terminal();
        let (start, all) = (clock.now().mono, all.map(|all| all as u64));
        Self { clock, start, all, what: what.into(), for_people, bar: Mutex::new(None) }
    }

    /// So many are done.
    pub fn tell(&self, done: usize) {
        self.draw(|bar| bar.set_position(done as u64));
    }

    /// Waits for a piece of work; the bar lives meanwhile.
    pub async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => self.draw(ProgressBar::tick),
            }
        }
    }

    fn draw(&self, change: impl FnOnce(&ProgressBar)) {
        if !self.for_people || self.clock.now().mono - self.start < PATIENCE {
            return;
        }
        // Nothing panics while it is held.
        let Ok(mut bar) = self.bar.lock() else { return };
        change(bar.get_or_insert_with(|| self.bar()));
    }

    fn bar(&self) -> ProgressBar {
        let (target, what) = (ProgressDrawTarget::stderr(), self.what.clone());
        let bar = ProgressBar::with_draw_target(self.all, target)
            .with_message(what)
            .with_elapsed(self.clock.now().mono - self.start);
        match ProgressStyle::with_template(if self.all.is_some() { BAR } else { SPINNER }) {
            Ok(style) => bar.with_style(style),
            // Then it looks as usual.
            Err(_) => bar,
        }
    }
}

/// Takes the bar away, also when the work failed.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_can_be_drawn() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
