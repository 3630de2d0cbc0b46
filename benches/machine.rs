//! What a benchmark ran on: shared by all whose pages say so.

use std::fs;

/// The CPUs and the kernel, as far as that tells something.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unknown model", |(_, name)| name.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    // Of the release, what tells kernels apart: the rest is a builder's.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cpus} CPUs ({model}), Linux {kernel}")
}
