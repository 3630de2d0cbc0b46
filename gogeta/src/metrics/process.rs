//! What every Prometheus client library tells of its process, under the same names.

use std::fmt;
use std::fs;
use std::sync::LazyLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The process, looked at when someone asks. What the system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = ConstCounter::new(cpu_seconds());
        let help = "Processor time used, in user and kernel mode";
        cpu.encode(encoder.encode_descriptor(
            "process_cpu",
            help,
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?)?;
        let memory = memory();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let gauges: [(&str, &str, Option<Unit>, Option<f64>); 5] = [
            (
                "process_resident_memory",
                "Memory that is in use",
                Some(Unit::Bytes),
                memory.map(|(_, resident)| resident),
            ),
            (
                "process_virtual_memory",
                "Memory that is reserved",
                Some(Unit::Bytes),
                memory.map(|(reserved, _)| reserved),
            ),
            ("process_open_fds", "File descriptors that are open", None, open_files()),
            (
                "process_max_fds",
                "File descriptors that may be open",
                None,
                Some(limit.map_or(f64::INFINITY, |limit| limit as f64)),
            ),
            ("process_start_time", "When the process began, since 1970", Some(Unit::Seconds), *STARTED),
        ];
        for (name, help, unit, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes that are reserved, and those that are in use.
fn memory() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let page = rustix::param::page_size() as f64;
    let mut pages = text.split(' ').map(|count| count.parse::<f64>().ok());
    Some((pages.next()?? * page, pages.next()?? * page))
}

fn open_files() -> Option<f64> {
    const FILES: &str = "/proc/self/fd";
    // Since Linux 6.2 their number is the folder's size; before that they have to be looked at one by one.
    match fs::metadata(FILES).ok()?.len() {
        0 => Some(fs::read_dir(FILES).ok()?.count().saturating_sub(1) as f64),
        count => Some(count as f64),
    }
}

/// When the process began, in seconds since 1970 (`proc(5)`).
static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, and may have anything in it.
    let ticks: f64 = text.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    Some(boot + ticks / rustix::param::clock_ticks_per_second() as f64)
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::unix_seconds;

    #[test]
    fn the_system_tells_of_this_process() {
        let (reserved, resident) = memory().expect("there is /proc");
        assert!(resident > 1e6 && reserved >= resident, "{reserved} {resident}");
        let before = open_files().expect("there is /proc");
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/proc/self/stat").expect("it opens")).collect();
        assert!(open_files().expect("there is /proc") >= before.max(10.0), "{before} {files:?}");
        let started = STARTED.expect("there is /proc");
        let now = unix_seconds() as f64;
        assert!(started > now - 86400.0 * 365.0 && started <= now + 2.0, "{started} {now}");
        assert!(cpu_seconds() > 0.0);
    }
}
