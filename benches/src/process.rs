//! What the kernel knows about a process: memory and processor time.

use std::{path::PathBuf, time::Duration};

use crate::Outcome;

/// Ticks a second in which the kernel tells processor times: fixed for programs on Linux.
const TICKS: u64 = 100;

/// A process, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// Returns the resident memory in megabytes (10^6 bytes).
    pub(crate) fn memory(self) -> Outcome<f64> {
        self.status("VmRSS:")
    }

    /// Returns the most resident memory so far, in megabytes (10^6 bytes).
    pub(crate) fn most_memory(self) -> Outcome<f64> {
        self.status("VmHWM:")
    }

    /// Returns the part of the resident memory that mirrors files, such as the program itself, in megabytes (10^6 bytes).
    pub(crate) fn file_memory(self) -> Outcome<f64> {
        self.status("RssFile:")
    }

    /// Returns the processor time taken so far, of all its threads.
    pub(crate) fn cpu(self) -> Outcome<Duration> {
        let text = std::fs::read_to_string(self.file("stat"))?;
        // The name in parentheses may hold anything; what follows it has no parentheses.
        let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| -> Outcome<u64> {
            Ok(fields.get(index).ok_or("the kernel's line about a process is short")?.parse()?)
        };
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1_000 / TICKS))
    }

    fn status(self, field: &str) -> Outcome<f64> {
        let text = std::fs::read_to_string(self.file("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("the process has ended")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// Returns a tool of this machine, to be given arguments.
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own tools, with arguments from here, outside the product"
)]
pub(crate) fn tool(name: &str) -> std::process::Command {
    std::process::Command::new(name)
}
