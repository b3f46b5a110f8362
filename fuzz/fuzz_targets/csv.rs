#![no_main]

#[path = "../../tests/it/fuzz/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::csv::check(input));
