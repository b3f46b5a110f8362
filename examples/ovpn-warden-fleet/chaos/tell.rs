//! What a run came to, as rows of its result.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    audit::{Evidence, Verdict},
    plan::Fault,
    record::Millis,
    run::say,
};
use crate::measure::Result;

/// How often a fault of one kind was played, and how often nothing met it: those do not count.
#[derive(Debug, Default)]
pub struct Played(BTreeMap<(&'static str, &'static str), (usize, usize)>);

impl Played {
    /// `unmet` are places in the plan.
    pub fn new(plan: &[Fault], unmet: &[usize]) -> Self {
        let mut kinds = BTreeMap::<_, (usize, usize)>::new();
        for (number, fault) in plan.iter().enumerate() {
            let (met, not_met) = kinds.entry((fault.how.word(), fault.hit.word())).or_default();
            *if unmet.contains(&number) { not_met } else { met } += 1;
        }
        Self(kinds)
    }

    pub fn tell(&self, result: &mut Result) {
        result.put("faults", self.0.values().map(|(met, _)| met).sum::<usize>());
        for ((how, hit), (met, not_met)) in &self.0 {
            if *met > 0 {
                result.put(&format!("{how}.{hit}"), *met);
            }
            if *not_met > 0 {
                result.put(&format!("not_met.{how}.{hit}"), *not_met);
            }
        }
    }

    /// A kind that was drawn and never met was not tried.
    pub fn never_met(&self) -> Vec<String> {
        let never = self.0.iter().filter(|(_, (met, _))| *met == 0);
        never
            .map(|((how, hit), (_, not_met))| {
                format!("{hit} {how}: played {not_met} times and never met, so not tried")
            })
            .collect()
    }
}

/// From the verdict to rows of the result.
pub fn tell(evidence: &Evidence, verdict: &Verdict, result: &mut Result) {
    result.put("sessions", verdict.sessions);
    result.put("rows", evidence.rows.len());
    result.put("log_lines", verdict.lines);
    result.put("ends_within_a_second", verdict.exact);
    result.put("deadlines_passed", verdict.deadlines);
    for (what, size) in &verdict.largest {
        result.put(&format!("largest.{what}"), *size);
    }
    for ((end, cause), count) in &verdict.causes {
        result.put(&format!("ended.{end}.{cause}"), *count);
    }
    for (why, count) in &verdict.accepted {
        result.put(&format!("accepted.{why}"), *count);
    }
    let stalled: Millis = evidence.stalls.iter().map(|stall| stall.until - stall.from).sum();
    result.put("machine_stalls", evidence.stalls.len());
    result.put("machine_stalled_ms", stalled);
    for finding in verdict.findings.iter().take(20) {
        say(&format!("FINDING {finding}"));
    }
    result.put("findings", json!(verdict.findings.iter().take(20).collect::<Vec<_>>()));
    result.put("wrong_answers", verdict.findings.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::{Hit, How, Kinds, faults};

    #[test]
    fn a_fault_that_nothing_met_does_not_count_and_a_kind_that_was_never_met_is_a_finding() {
        let mut plan = faults(7, 5, 4, true, Kinds::All);
        for (number, fault) in plan.iter_mut().enumerate() {
            (fault.hit, fault.how) =
                if number < 2 { (Hit::Database, How::Full) } else { (Hit::Daemon, How::Stop) };
        }
        let told = |unmet: &[usize]| {
            let mut result = Result::default();
            let played = Played::new(&plan, unmet);
            played.tell(&mut result);
            let get = |name| result.get(name);
            let counts = ["faults", "disk_full.database", "not_met.disk_full.database"].map(get);
            (counts, played.never_met())
        };
        assert_eq!(told(&[]), ([Some(5.0), Some(2.0), None], vec![]));
        assert_eq!(told(&[1]), ([Some(4.0), Some(1.0), Some(1.0)], vec![]));
        let (counts, findings) = told(&[0, 1]);
        assert_eq!(counts, [Some(3.0), None, Some(2.0)]);
        assert_eq!(findings, ["database disk_full: played 2 times and never met, so not tried"]);
    }
}
