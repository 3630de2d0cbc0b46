//! Throws whatever libFuzzer comes up with at the property in `properties/guard.rs`.

#![no_main]

#[path = "../properties/guard.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
