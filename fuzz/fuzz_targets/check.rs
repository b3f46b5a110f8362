#![no_main]

use std::sync::OnceLock;

#[path = "../../tests/it/fuzz/check/mod.rs"]
mod check;

static CHECK: OnceLock<check::Check> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| CHECK.get_or_init(chosen)(input));

fn chosen() -> check::Check {
    let name = std::env::var("WARDEN_FUZZ_TARGET").expect("WARDEN_FUZZ_TARGET names a target");
    let found = check::TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target {name:?}")).1
}
