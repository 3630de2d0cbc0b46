//! Throws whatever libFuzzer comes up with at the property in `properties/gate.rs`.

#![no_main]

#[path = "../properties/gate.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
