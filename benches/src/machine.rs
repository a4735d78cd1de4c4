//! What the numbers were measured on.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use claw_core::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::{Outcome, process, stats::Samples};

/// How long the disk is asked.
const DISK_TIME: Duration = Duration::from_secs(2);

/// About what a commit of sixteen submits writes.
const DISK_BYTES: usize = 64 * 1024;

/// Machine, date and commit.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gb: f64,
    pub(crate) kernel: String,
    pub(crate) load: String,
    /// Time in milliseconds that one write takes until it is on disk.
    pub(crate) sync_ms: f64,
}

impl Machine {
    /// Looks at this machine, and at the disk that holds `folder`.
    pub(crate) fn look(folder: &Path) -> Outcome<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let processor = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = read("/proc/meminfo");
        let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
        Ok(Self {
            date: SystemClock.now().strftime("%Y-%m-%d").to_string(),
            commit: commit(),
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() * 1024.0 / 1e9,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            sync_ms: sync_time(folder)?.median(),
        })
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "{}, commit {}; {} cores of {}, {:.0} GB, Linux {}; load at the start {}; \
             one write of 64 KiB is on this disk after {:.2} ms (median)",
            self.date,
            self.commit,
            self.cores,
            self.processor,
            self.memory_gb,
            self.kernel,
            self.load,
            self.sync_ms,
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "date": self.date, "commit": self.commit, "processor": self.processor, "cores": self.cores,
            "memory_gb": self.memory_gb, "kernel": self.kernel, "load": self.load, "sync_ms": self.sync_ms,
        })
    }
}

/// Returns how long writes take until they are on the disk that holds `folder`: into a file that has its size already,
/// so that nothing else has to be written along.
pub(crate) fn sync_time(folder: &Path) -> Outcome<Samples> {
    const WRITES: u64 = 64;
    let mut file = tempfile::tempfile_in(folder)?;
    let data = [7; DISK_BYTES];
    for _ in 0..WRITES {
        file.write_all(&data)?;
    }
    file.sync_all()?;
    let mut samples = Samples::default();
    let begun = Instant::now();
    while begun.elapsed() < DISK_TIME {
        let at = samples.len() as u64 % WRITES * DISK_BYTES as u64;
        let before = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&file, &data, at)?;
        File::sync_data(&file)?;
        samples.push_time(before.elapsed());
    }
    Ok(samples)
}

fn commit() -> String {
    let output = process::tool("git").args(["describe", "--always", "--dirty=+", "--abbrev=9"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}
