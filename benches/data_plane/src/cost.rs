//! What the whole machine has worked: much of what a proxy causes is done by the kernel in nobody's name.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Of `/proc`'s clock: `USER_HZ` is 100 on every architecture of Linux that gogeta runs on.
pub(crate) fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}

/// The time that all CPUs together were busy since the machine started: all but idle and waiting for disks
/// (`proc_stat(5)`).
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat has no line")?;
    let times: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already. What others took of this
    // virtual machine is not ours.
    let busy = times.iter().take(7).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    Ok(ticks(busy.map(|(_, time)| time).sum()))
}
