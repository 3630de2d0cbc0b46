//! Throws whatever libFuzzer comes up with at the property in `properties/access_log.rs`.

#![no_main]

#[path = "../properties/access_log.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
