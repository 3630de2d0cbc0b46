//! Throws whatever libFuzzer comes up with at the property in `properties/headers.rs`.

#![no_main]

#[path = "../properties/headers.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
