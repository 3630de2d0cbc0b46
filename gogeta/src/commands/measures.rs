//! Rates, times and amounts, as people read them: short, and as wide as their columns.

use std::fmt::Write as _;

/// A number in three digits or so: `0`, `3.2`, `320`, `32.1k`.
pub(super) fn number(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T"])
}

/// So many bytes: `512 B`, `1.5 KB`.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KB", " MB", " GB", " TB"])
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut left = if value.is_finite() && value > 0.0 { value } else { 0.0 };
    let mut at = 0;
    while left >= step - 0.5 && at + 1 < units.len() {
        left /= step;
        at += 1;
    }
    let digits = if left == 0.0 || left >= 99.95 || (at == 0 && left.fract() == 0.0) {
        0
    } else if at == 0 && left < 0.095 {
        2
    } else {
        1
    };
    format!("{left:.digits$}{}", units[at])
}

/// A time in seconds: `0.85 ms`, `1.2 ms`, `3.4 s`; a dash where there is none.
pub(super) fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.001 => format!("{:.2} ms", value * 1e3),
        Some(value) if value < 0.1 => format!("{:.1} ms", value * 1e3),
        Some(value) if value < 1.0 => format!("{:.0} ms", value * 1e3),
        Some(value) => format!("{value:.1} s"),
    }
}

/// A share of one: `12 %`; little is not nothing.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        share if share > 0.0 && share < 0.1 => "<0.1 %".to_owned(),
        share if share > 0.0 && share < 10.0 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// How long something has been so: `4d 3h`, `2h 5m`, `3m 2s`, `1s`.
pub(super) fn span(seconds: f64) -> String {
    // Saturates; nothing is so old.
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A whole number with its thousands apart: `12,345`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        let _ = write!(out, "{digit}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        let numbers = [0.0, 0.05, 0.5, 3.25, 12.0, 320.4, 999.7, 1000.0, 12_345.0, 1.5e6, f64::NAN, -1.0];
        let shown = ["0", "0.05", "0.5", "3.2", "12", "320", "1.0k", "1.0k", "12.3k", "1.5M", "0", "0"];
        assert_eq!(numbers.map(number), shown);
        assert_eq!([0.0, 512.0, 1536.0, 5e9].map(bytes), ["0 B", "512 B", "1.5 KB", "4.7 GB"]);
        let times = [None, Some(0.00085), Some(0.0012), Some(0.25), Some(3.44)].map(seconds);
        assert_eq!(times, ["-", "0.85 ms", "1.2 ms", "250 ms", "3.4 s"]);
        assert_eq!([0.0, 0.0001, 0.012, 0.5, 1.0].map(percent), ["0 %", "<0.1 %", "1.2 %", "50 %", "100 %"]);
        assert_eq!([0.4, 62.0, 7500.0, 360_000.0].map(span), ["0s", "1m 2s", "2h 5m", "4d 4h"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
