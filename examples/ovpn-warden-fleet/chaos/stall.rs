//! When the machine stood still: what is late then is not the program's fault, and is said.

use std::{fs, path::PathBuf, time::Duration};

use ovpn_warden::types::Clock;
use tokio::{sync::watch, time::sleep};

use super::{audit::Span, record::Millis};

/// How often it is looked at.
const STEP: Duration = Duration::from_millis(25);
/// Less is not noted.
const LEAST: Duration = Duration::from_millis(200);
/// How often the daemon's waiting for a processor is looked at, in steps.
const STEPS: u32 = 10;

/// Until `stop`; `pid` is the daemon's, 0 while there is none.
pub async fn watch(
    clock: Clock,
    pid: watch::Receiver<u32>,
    stop: watch::Receiver<bool>,
) -> Vec<Span> {
    let mut stalls = Vec::new();
    let mut waited = (0, 0);
    let mut looked = clock.now();
    for step in 1_u32.. {
        if *stop.borrow() {
            break;
        }
        let before = clock.now();
        sleep(STEP).await;
        let now = clock.now();
        let late = (now.mono - before.mono).saturating_sub(STEP);
        if late >= LEAST {
            stalls.push(Span { from: before.utc.as_millis(), until: now.utc.as_millis() });
        }
        if step.is_multiple_of(STEPS) {
            // The kernel's own count of how long a thread that could run did not.
            let pid = *pid.borrow();
            let total = longest_wait(pid).unwrap_or(0);
            let added = Duration::from_nanos(total.saturating_sub(waited.1));
            if waited.0 == pid && added >= LEAST {
                let until = now.utc.as_millis();
                let length = Millis::try_from(added.as_millis()).unwrap_or(Millis::MAX);
                let from = looked.utc.as_millis().max(until - length);
                stalls.push(Span { from, until });
            }
            waited = (pid, total);
            looked = now;
        }
    }
    stalls
}

/// Of its threads the longest time on a run queue, in nanoseconds.
fn longest_wait(pid: u32) -> Option<u64> {
    let tasks = fs::read_dir(PathBuf::from(format!("/proc/{pid}/task"))).ok()?;
    let wait = |path: PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok()
    };
    tasks.flatten().filter_map(|task| wait(task.path())).max()
}
