//! What the daemon holds over a long time: memory and descriptors, and whether they grow.

use std::{fs, path::PathBuf, time::Duration};

use ovpn_warden::types::{Clock, Mono};
use tokio::{sync::watch, time::sleep};

use crate::measure::Result;

/// Between two samples.
const STEP: Duration = Duration::from_secs(5);
/// The part of a run at its beginning that is not looked at: caches fill, everybody logs in.
const WARM_UP: f64 = 0.2;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Minutes since the first.
    pub minutes: f64,
    pub rss_kib: f64,
    pub descriptors: usize,
}

/// Until `stop`; `pid` is the daemon's.
pub async fn watch(
    clock: Clock,
    pid: watch::Receiver<u32>,
    stop: watch::Receiver<bool>,
) -> Vec<Sample> {
    let begun: Mono = clock.now().mono;
    let mut samples = Vec::new();
    while !*stop.borrow() {
        let minutes = (clock.now().mono - begun).as_secs_f64() / 60.0;
        let pid = *pid.borrow();
        if let Some((rss_kib, descriptors)) = look(pid) {
            samples.push(Sample { minutes, rss_kib, descriptors });
        }
        sleep(STEP).await;
    }
    samples
}

fn look(pid: u32) -> Option<(f64, usize)> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let rss = line.split_whitespace().next()?.parse().ok()?;
    Some((rss, fs::read_dir(process.join("fd")).ok()?.count()))
}

/// By how much a value grows in a minute, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let own: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if own > 0.0 { both / own } else { 0.0 }
}

/// The least memory within each minute, in KiB: what a burst takes and gives back does not show.
fn floors(samples: &[Sample]) -> Vec<(f64, f64)> {
    let mut floors: Vec<(f64, f64)> = Vec::new();
    for sample in samples {
        let minute = sample.minutes.floor();
        match floors.last_mut().filter(|(last, _)| *last == minute) {
            Some((_, least)) => *least = least.min(sample.rss_kib),
            None => floors.push((minute, sample.rss_kib)),
        }
    }
    floors
}

/// Puts what was seen into the result.
pub fn tell(samples: &[Sample], result: &mut Result) {
    let skipped = (samples.len() as f64 * WARM_UP) as usize;
    let kept = &samples[skipped..];
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else { return };
    let rss: Vec<_> = kept.iter().map(|sample| (sample.minutes, sample.rss_kib)).collect();
    let descriptors: Vec<_> =
        kept.iter().map(|sample| (sample.minutes, sample.descriptors as f64)).collect();
    let most = kept.iter().map(|sample| sample.rss_kib).fold(0.0, f64::max);
    result.put("samples", kept.len());
    result.number("rss_kib_first", first.rss_kib);
    result.number("rss_kib_last", last.rss_kib);
    result.number("rss_kib_most", most);
    result.number("rss_kib_per_minute", slope(&rss));
    result.number("rss_floor_kib_per_minute", slope(&floors(kept)));
    let by_minute: Vec<_> = floors(samples).iter().map(|(_, least)| least.round()).collect();
    result.put("rss_floor_kib", by_minute);
    result.put("descriptors_first", first.descriptors);
    result.put("descriptors_last", last.descriptors);
    result.put("descriptors_most", kept.iter().map(|sample| sample.descriptors).max());
    result.number("descriptors_per_minute", slope(&descriptors));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_and_noise_is_none() {
        let line: Vec<_> = (0..100).map(|x| (f64::from(x), 7.0 * f64::from(x) + 3.0)).collect();
        assert!((slope(&line) - 7.0).abs() < 1e-9);
        let noise: Vec<_> =
            (0..100).map(|x| (f64::from(x), if x % 2 == 0 { 1.0 } else { -1.0 })).collect();
        assert!(slope(&noise).abs() < 0.01);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
    }

    #[test]
    fn the_beginning_does_not_count() {
        let samples: Vec<_> = (0..100)
            .map(|n| Sample {
                minutes: f64::from(n),
                rss_kib: if n < 20 { f64::from(n) * 1_000.0 } else { 20_000.0 },
                descriptors: 40,
            })
            .collect();
        let mut result = Result::default();
        tell(&samples, &mut result);
        assert_eq!(result.get("rss_kib_per_minute"), Some(0.0));
        assert_eq!(result.get("rss_floor_kib_per_minute"), Some(0.0));
        assert_eq!(result.get("samples"), Some(80.0));
        assert_eq!(result.get("descriptors_most"), Some(40.0));
    }

    #[test]
    fn what_is_given_back_within_a_minute_does_not_raise_the_floor() {
        let of = |seconds: u32, rss_kib| Sample {
            minutes: f64::from(seconds) / 60.0,
            rss_kib,
            descriptors: 1,
        };
        let samples = [of(0, 30.0), of(30, 900.0), of(59, 31.0), of(60, 500.0), of(119, 33.0)];
        assert_eq!(floors(&samples), [(0.0, 30.0), (1.0, 33.0)]);
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let (rss, descriptors) = look(std::process::id()).unwrap();
        assert!(rss > 100.0 && descriptors > 2);
        assert_eq!(look(0), None);
    }
}
