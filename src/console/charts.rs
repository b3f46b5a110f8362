//! Charts: what happened by the hour or day, as bars and as a table for who cannot see them. Pure.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::{
    store::{ActivityKind, HourSum},
    types::{Timestamp, short_bytes},
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Reasons with a colour of their own; the others share one.
const MOST_REASONS: usize = 5;
const OTHERS: &str = "other";

/// How much of the past is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// 24 hours.
    Day,
    /// 30 days of UTC.
    Month,
}

impl Range {
    /// As an address has it.
    pub(super) fn of(word: Option<&str>) -> Self {
        if word == Some("month") { Self::Month } else { Self::Day }
    }

    const fn step(self) -> i64 {
        match self {
            Self::Day => HOUR_MS,
            Self::Month => DAY_MS,
        }
    }

    const fn count(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Month => 30,
        }
    }

    /// When the first bar begins; the last one is of now.
    pub(super) fn since(self, now: Timestamp) -> Timestamp {
        let (now, step) = (now.as_millis(), self.step());
        Timestamp::from_millis(now - now.rem_euclid(step) - (self.count() - 1) * step)
    }

    fn label(self, at: Timestamp) -> String {
        let format = match self {
            Self::Day => "%H:00",
            Self::Month => "%d %b",
        };
        at.to_datetime().format(format).to_string()
    }
}

/// What the height of a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Bytes,
}

impl Unit {
    fn text(self, amount: u64) -> String {
        match self {
            Self::Count => amount.to_string(),
            Self::Bytes => short_bytes(amount),
        }
    }
}

/// A chart's data: bars in the order of time, each of as many parts as there are names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chart {
    title: &'static str,
    unit: Unit,
    names: Vec<String>,
    bars: Vec<(Timestamp, Vec<u64>)>,
}

/// Everything that is shown of a range.
pub(super) fn charts(sums: &[HourSum], range: Range, now: Timestamp) -> [Chart; 4] {
    let table = Table::new(sums, range, now);
    let logins =
        [ActivityKind::Allowed, ActivityKind::Challenged, ActivityKind::Denied].map(Key::all);
    let reasons = table.reasons();
    let denials: Vec<Key<'_>> = reasons.iter().map(|reason| Key::denied(reason)).collect();
    let traffic = [ActivityKind::Received, ActivityKind::Sent].map(Key::all);
    [
        table.chart("Sessions at once", Unit::Count, &[Key::all(ActivityKind::Sessions)]),
        table.chart("Logins", Unit::Count, &logins),
        table.chart("Denials by reason", Unit::Count, &denials),
        table.chart("Traffic", Unit::Bytes, &traffic),
    ]
}

/// What a part of a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    kind: ActivityKind,
    reason: Option<&'a str>,
}

impl<'a> Key<'a> {
    const fn all(kind: ActivityKind) -> Self {
        Self { kind, reason: None }
    }

    const fn denied(reason: &'a str) -> Self {
        Self { kind: ActivityKind::Denied, reason: Some(reason) }
    }

    fn name(self) -> String {
        self.reason.unwrap_or(self.kind.as_str()).replace('_', " ")
    }
}

/// The amounts of each bar.
struct Table<'a> {
    since: Timestamp,
    range: Range,
    amounts: BTreeMap<(Key<'a>, i64), u64>,
}

impl<'a> Table<'a> {
    fn new(sums: &'a [HourSum], range: Range, now: Timestamp) -> Self {
        let since = range.since(now);
        let mut amounts: BTreeMap<(Key<'a>, i64), u64> = BTreeMap::new();
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for sum in sums.iter().filter(|sum| sum.kind == ActivityKind::Denied) {
            let total = totals.entry(&sum.reason).or_default();
            *total = total.saturating_add(sum.amount);
        }
        let mut most: Vec<_> = totals.into_iter().collect();
        most.sort_by_key(|(reason, total)| (std::cmp::Reverse(*total), *reason));
        let named: Vec<&str> = most.iter().take(MOST_REASONS).map(|(reason, _)| *reason).collect();
        for sum in sums {
            let bar = (sum.hour.as_millis() - since.as_millis()).div_euclid(range.step());
            if !(0..range.count()).contains(&bar) {
                continue;
            }
            let mut add = |key: Key<'a>| {
                let amount = amounts.entry((key, bar)).or_default();
                // Of a day's hours that with most sessions counts; everything else adds up.
                *amount = match sum.kind {
                    ActivityKind::Sessions => sum.amount.max(*amount),
                    ActivityKind::Allowed
                    | ActivityKind::Challenged
                    | ActivityKind::Denied
                    | ActivityKind::Received
                    | ActivityKind::Sent => amount.saturating_add(sum.amount),
                };
            };
            add(Key::all(sum.kind));
            if sum.kind == ActivityKind::Denied {
                let is_named = named.contains(&sum.reason.as_str());
                add(Key::denied(if is_named { &sum.reason } else { OTHERS }));
            }
        }
        Self { since, range, amounts }
    }

    /// Reasons with bars, those of most denials first.
    fn reasons(&self) -> Vec<&'a str> {
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for ((key, _), amount) in &self.amounts {
            if let Some(reason) = key.reason {
                let total = totals.entry(reason).or_default();
                *total = total.saturating_add(*amount);
            }
        }
        let mut reasons: Vec<_> = totals.into_iter().collect();
        reasons.sort_by_key(|(reason, total)| (*reason == OTHERS, std::cmp::Reverse(*total)));
        reasons.into_iter().map(|(reason, _)| reason).collect()
    }

    fn chart(&self, title: &'static str, unit: Unit, keys: &[Key<'a>]) -> Chart {
        let amount = |key: &Key<'a>, bar| self.amounts.get(&(*key, bar)).copied().unwrap_or(0);
        let bars = (0..self.range.count()).map(|bar| {
            let begun = self.since.as_millis() + bar * self.range.step();
            let parts = keys.iter().map(|key| amount(key, bar)).collect();
            (Timestamp::from_millis(begun), parts)
        });
        Chart {
            title,
            unit,
            names: keys.iter().map(|key| key.name()).collect(),
            bars: bars.collect(),
        }
    }
}

const WIDTH: u64 = 640;
const HEIGHT: u64 = 180;
const LEFT: u64 = 80;
const TOP: u64 = 8;
const BOTTOM: u64 = 24;
/// Between two labels under the bars.
const LABEL_EVERY: usize = 6;

impl Chart {
    fn total(&self, part: usize) -> u64 {
        self.bars.iter().fold(0, |sum, (_, parts)| sum.saturating_add(parts[part]))
    }

    fn highest(&self) -> u64 {
        let sums =
            self.bars.iter().map(|(_, p)| p.iter().fold(0, |s: u64, a| s.saturating_add(*a)));
        sums.max().unwrap_or(0)
    }

    /// What a part comes to, for its legend: sessions at once do not add up.
    fn summary(&self, part: usize) -> String {
        let amount =
            if self.title.starts_with("Sessions") { self.highest() } else { self.total(part) };
        self.unit.text(amount)
    }

    /// The chart, its legend and its table.
    pub(super) fn show(&self, range: Range) -> Markup {
        let top = ceiling(self.highest(), self.unit);
        let room = HEIGHT - TOP - BOTTOM;
        let pitch = (WIDTH - LEFT) / self.bars.len().max(1) as u64;
        let height = |amount: u64| scaled(amount, top, room);
        let is_empty = self.highest() == 0;
        html! {
            figure.chart {
                figcaption { (self.title) }
                @if is_empty {
                    p.quiet { "Nothing in this time." }
                } @else {
                    svg role="img" aria-label=(format!("{}; the numbers are in the table below", self.title))
                        viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
                        @for part in 0..=2 {
                            @let y = TOP + room - room * part / 2;
                            line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                            text.axis x=(LEFT - 6) y=(y + 4) text-anchor="end" { (self.unit.text(top / 2 * part)) }
                        }
                        @for (number, (at, parts)) in self.bars.iter().enumerate() {
                            @let x = LEFT + number as u64 * pitch;
                            g {
                                title { (self.told(range, *at, parts)) }
                                rect.touch x=(x) y=(TOP) width=(pitch) height=(room) {}
                                @for (part, below, amount) in stacked(parts) {
                                    @let (from, to) = (height(below), height(below.saturating_add(amount)));
                                    rect class=(format!("part{part}")) x=(x + 1) y=(TOP + room - to)
                                        width=(pitch - 2) height=(to - from) {}
                                }
                            }
                            @if number % LABEL_EVERY == 0 {
                                text.axis x=(x) y=(HEIGHT - 6) { (range.label(*at)) }
                            }
                        }
                    }
                    ul.legend {
                        @for (part, name) in self.names.iter().enumerate() {
                            li { span class=(format!("swatch part{part}")) aria-hidden="true" {} (name) " " b { (self.summary(part)) } }
                        }
                    }
                    (self.table(range))
                }
            }
        }
    }

    fn told(&self, range: Range, at: Timestamp, parts: &[u64]) -> String {
        let parts = self.names.iter().zip(parts).filter(|(_, amount)| **amount > 0);
        let parts: Vec<_> =
            parts.map(|(name, amount)| format!("{name} {}", self.unit.text(*amount))).collect();
        let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        format!("{} UTC: {parts}", range.label(at))
    }

    fn table(&self, range: Range) -> Markup {
        html! {
            details {
                summary { "As a table" }
                div.scroll {
                    table {
                        caption.hidden { (self.title) }
                        thead { tr {
                            th scope="col" { "UTC" }
                            @for name in &self.names { th.number scope="col" { (name) } }
                        } }
                        tbody {
                            @for (at, parts) in &self.bars {
                                tr {
                                    th scope="row" { (range.label(*at)) }
                                    @for amount in parts { td.number { (self.unit.text(*amount)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Parts with an amount: their number, what is below them, and how much they are.
fn stacked(parts: &[u64]) -> impl Iterator<Item = (usize, u64, u64)> {
    let mut below: u64 = 0;
    parts.iter().enumerate().filter(|(_, amount)| **amount > 0).map(move |(part, amount)| {
        let at = below;
        below = below.saturating_add(*amount);
        (part, at, *amount)
    })
}

/// `amount` of `top`, as a part of `room`.
fn scaled(amount: u64, top: u64, room: u64) -> u64 {
    let scaled = u128::from(amount.min(top)) * u128::from(room) / u128::from(top.max(1));
    u64::try_from(scaled).unwrap_or(room)
}

/// An even number that is easy to read and not below `highest`: 2, 4, 6, 8, 10, 20, 40, …; of bytes in powers of two.
fn ceiling(highest: u64, unit: Unit) -> u64 {
    match unit {
        Unit::Bytes => highest.max(2).checked_next_power_of_two().unwrap_or(u64::MAX),
        Unit::Count => {
            let mut power: u64 = 1;
            loop {
                for digit in [2, 4, 6, 8, 10] {
                    let top = power.saturating_mul(digit);
                    if top >= highest {
                        return top;
                    }
                }
                power = power.saturating_mul(10);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(hour: i64, kind: ActivityKind, reason: &str, amount: u64) -> HourSum {
        let hour = Timestamp::from_millis(hour * HOUR_MS);
        HourSum { hour, kind, reason: reason.into(), amount }
    }

    /// The bars that are not empty, by number.
    fn filled(chart: &Chart) -> Vec<(usize, Vec<u64>)> {
        let bars = chart.bars.iter().enumerate();
        bars.filter(|(_, (_, parts))| parts.iter().any(|a| *a > 0))
            .map(|(number, (_, parts))| (number, parts.clone()))
            .collect()
    }

    #[test]
    fn hours_become_bars_and_days_take_the_most_sessions() {
        use ActivityKind::{Allowed, Received, Sent, Sessions};

        let now = Timestamp::from_millis(1_000 * HOUR_MS + 7);
        let sums = [
            sum(976, Allowed, "", 9),
            sum(977, Allowed, "", 3),
            sum(999, Sessions, "", 5),
            sum(1_000, Sessions, "", 8),
            sum(1_000, Received, "", 100),
            sum(1_000, Sent, "", 50),
            sum(1_001, Sent, "", 1),
        ];
        let [sessions, logins, denials, traffic] = charts(&sums, Range::Day, now);
        assert_eq!(filled(&sessions), [(22, vec![5]), (23, vec![8])]);
        assert_eq!(filled(&logins), [(0, vec![3, 0, 0])], "what is older is not shown");
        assert_eq!(filled(&denials), []);
        assert_eq!(filled(&traffic), [(23, vec![100, 50])]);
        let [sessions, logins, _, traffic] = charts(&sums, Range::Month, now);
        // 1,000 hours are 41 days and 16 hours.
        assert_eq!(filled(&sessions), [(29, vec![8])]);
        assert_eq!(filled(&logins), [(28, vec![12, 0, 0])]);
        assert_eq!(filled(&traffic), [(29, vec![100, 51])]);
        assert_eq!(sessions.bars[0].0.as_millis(), 12 * DAY_MS);
    }

    #[test]
    fn rare_reasons_share_a_bar() {
        let now = Timestamp::from_millis(0);
        let reasons = ["a", "b", "c", "d", "e", "f", "g"];
        let sums: Vec<_> = (1..)
            .zip(reasons)
            .map(|(amount, reason)| sum(0, ActivityKind::Denied, reason, amount))
            .collect();
        let [_, logins, denials, _] = charts(&sums, Range::Day, now);
        assert_eq!(denials.names, ["g", "f", "e", "d", "c", OTHERS]);
        assert_eq!(filled(&denials), [(23, vec![7, 6, 5, 4, 3, 3])]);
        assert_eq!(filled(&logins), [(23, vec![0, 0, 28])]);
    }

    #[test]
    fn bars_fit_and_their_scale_is_easy_to_read() {
        for (highest, top) in
            [(0, 2), (2, 2), (3, 4), (5, 6), (9, 10), (11, 20), (21, 40), (41, 60), (401, 600)]
        {
            assert_eq!(ceiling(highest, Unit::Count), top);
        }
        assert_eq!(ceiling(1_025, Unit::Bytes), 2_048);
        assert_eq!(ceiling(u64::MAX, Unit::Bytes), u64::MAX);
        assert!(ceiling(u64::MAX, Unit::Count) == u64::MAX);
        assert_eq!(scaled(u64::MAX, u64::MAX, 148), 148);
        let parts: Vec<_> = stacked(&[3, 0, 4]).collect();
        assert_eq!(parts, [(0, 0, 3), (2, 3, 4)]);
    }

    #[test]
    fn a_chart_is_also_a_table() {
        let now = Timestamp::from_millis(0);
        let sums = [sum(0, ActivityKind::Denied, "bad_credentials", 7)];
        let [_, _, denials, traffic] = charts(&sums, Range::Day, now);
        let page = denials.show(Range::Day).into_string();
        assert!(page.contains("00:00 UTC: bad credentials 7"), "{page}");
        assert!(page.contains("<td class=\"number\">7</td>"), "{page}");
        assert!(!page.contains("style="), "the policy forbids it");
        assert!(traffic.show(Range::Day).into_string().contains("Nothing in this time"));
    }
}
