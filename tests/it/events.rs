//! The documentation of log lines names every event there is, and no other.

use ovpn_warden::{telemetry::events::NAMES, types::DenyReason};

#[test]
fn the_documentation_names_every_event_and_no_other() {
    let text = include_str!("../../docs/events.md");
    let mut documented: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("## Reasons"))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| *name != "log")
        .collect();
    let mut known = NAMES.to_vec();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn the_documentation_explains_every_reason_that_can_occur() {
    let text = include_str!("../../docs/events.md");
    let (_, reasons) = text.split_once("## Reasons").unwrap();
    // Those of rules that this version does not have yet.
    let later = [
        "outside_hours",
        "time_quota_used",
        "data_quota_used",
        "too_many_sessions",
        "cooldown",
        "second_factor_required",
        "bad_second_factor",
    ];
    for reason in DenyReason::ALL {
        let wanted = !later.contains(&reason.as_str());
        assert_eq!(reasons.contains(&format!("`{reason}`")), wanted, "{reason}");
    }
}
