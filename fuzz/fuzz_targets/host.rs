//! Throws whatever libFuzzer comes up with at the property in `properties/host.rs`.

#![no_main]

#[path = "../properties/host.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
