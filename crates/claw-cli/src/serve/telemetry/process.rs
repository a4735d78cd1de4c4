//! What the server takes of its machine, read from `/proc`: a few short files for each scrape.

use std::{fs, sync::OnceLock};

/// Sets the gauges of the process. What the system does not tell is left out.
pub(super) fn measure() {
    if let Some(pages) = resident_pages() {
        let bytes = pages * rustix::param::page_size() as u64;
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(stat) = Stat::read() {
        metrics::counter!("process_cpu_seconds_total").absolute(stat.cpu_ticks / ticks_per_second());
        metrics::gauge!("process_threads").set(stat.threads as f64);
        if let Some(boot) = boot_time() {
            let started = boot as f64 + stat.start_ticks as f64 / ticks_per_second() as f64;
            metrics::gauge!("process_start_time_seconds").set(started);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder being read.
        metrics::gauge!("process_open_fds").set(entries.count().saturating_sub(1) as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
}

/// Returns when the machine started, in Unix time.
fn boot_time() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = fs::read_to_string("/proc/stat").ok()?;
        text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    })
}

/// Fields of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses the line. The program's name, between parentheses, may hold blanks and parentheses.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.rsplit_once(')')?.1.split_whitespace().collect();
        // The manual of proc(5) counts from 1 and begins with the process id and the name.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, threads: field(20)?, start_ticks: field(22)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 5 0 9876 1 2 3";

        assert_eq!(Stat::parse(line), Some(Stat { cpu_ticks: 42, threads: 5, start_ticks: 9876 }));
        assert_eq!(Stat::parse("7 (a"), None);
    }
}
