//! From what was seen to numbers, and how they are printed.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};

/// Named numbers in the order in which they were found.
#[derive(Debug, Default)]
pub struct Result {
    rows: Vec<(String, Value)>,
}

impl Result {
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.rows.push((name.to_owned(), value.into()));
    }

    pub fn number(&mut self, name: &str, value: f64) {
        // Three places are more than any of this is exact to.
        self.put(name, json!((value * 1_000.0).round() / 1_000.0));
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|(key, _)| key == name)?.1.as_f64()
    }

    /// p50, p99, p99.9 and the largest, in milliseconds.
    pub fn spread(&mut self, name: &str, mut values: Vec<Duration>) {
        values.sort_unstable();
        self.put(&format!("{name}_count"), values.len());
        for (suffix, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            if let Some(value) = percentile(&values, share) {
                self.number(&format!("{name}_ms_{suffix}"), value.as_secs_f64() * 1_000.0);
            }
        }
    }

    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        for (name, value) in self.rows.iter().filter(|(_, value)| !value.is_array()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.add_row([name.clone(), text]);
        }
        table.to_string()
    }

    pub fn json(&self) -> String {
        Value::Object(self.rows.iter().cloned().collect::<Map<_, _>>()).to_string()
    }

    /// Holds one bound, as `name>=5000`, against what was measured; the line to print, and whether
    /// it is met.
    pub fn verdict(&self, bound: &str) -> anyhow::Result<(String, bool)> {
        let (name, at_least, limit) = match (bound.split_once(">="), bound.split_once("<=")) {
            (Some((name, limit)), None) => (name, true, limit),
            (None, Some((name, limit))) => (name, false, limit),
            _ => anyhow::bail!("`{bound}` is no bound: write name>=number or name<=number"),
        };
        let limit: f64 = limit.parse().with_context(|| format!("`{bound}`: no number"))?;
        let Some(value) = self.get(name) else {
            return Ok((format!("MISS    {bound}    not measured"), false));
        };
        let is_met = if at_least { value >= limit } else { value <= limit };
        let word = if is_met { "MET " } else { "MISS" };
        Ok((format!("{word}    {bound}    measured {value}"), is_met))
    }
}

/// Nearest rank; of sorted values.
fn percentile(values: &[Duration], share: f64) -> Option<Duration> {
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_so_many_do_not_pass() {
        let values: Vec<_> = (1..=1_000).map(Duration::from_millis).collect();
        for (share, wanted) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
            assert_eq!(percentile(&values, share), Some(Duration::from_millis(wanted)));
        }
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&values[..1], 0.01), Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_bound_is_met_or_missed_or_cannot_be_read() {
        let mut result = Result::default();
        result.number("rate", 10.0);
        assert!(result.verdict("rate>=10").unwrap().1);
        assert!(!result.verdict("rate<=9.9").unwrap().1);
        assert!(!result.verdict("other<=1").unwrap().1);
        assert!(result.verdict("rate=1").is_err());
        assert!(result.verdict("rate<=x").is_err());
    }
}
