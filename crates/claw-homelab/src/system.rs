//! The machine and its Engine.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_core::{Action, Actor, Resource, Timestamp};
use claw_docker::EngineVersion;
use tokio::time::Instant;

use crate::{ActivityCounts, Core, HomelabError};

type Result<T> = std::result::Result<T, HomelabError>;

/// Time over which the load of the processors is measured when nobody asked for a while.
const LOAD_WINDOW: Duration = Duration::from_millis(200);

/// Two looks that are less apart than this tell nothing new.
const LOAD_FRESH: Duration = Duration::from_millis(500);

/// Two looks that are further apart than this tell what was, not what is.
const LOAD_STALE: Duration = Duration::from_secs(15);

/// The use cases of the machine. Cheap to clone.
#[derive(Clone)]
pub struct System {
    core: Arc<Core>,
    data_dir: PathBuf,
    load: Arc<Load>,
    started: Instant,
}

/// What the Engine is.
pub type SystemInfo = EngineVersion;

/// How busy the machine is.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Load of the processors in percent, over the time since somebody asked last.
    pub cpu_percent: f64,
    /// Memory in bytes.
    pub memory_total: u64,
    /// Memory in use, without what the kernel could take back at once.
    pub memory_used: u64,
    /// Size in bytes of the file system that holds the Engine's things.
    pub disk_total: u64,
    /// How much of it is used.
    pub disk_used: u64,
    /// Seconds since the machine was started.
    pub uptime_secs: f64,
    /// The time now.
    pub now: Timestamp,
    /// Containers, running or not.
    pub containers: usize,
    /// Images.
    pub images: usize,
}

impl Metrics {
    /// Returns the used part of the memory in percent, cut to two decimals.
    pub fn memory_percent(&self) -> f64 {
        percent(self.memory_used, self.memory_total)
    }

    /// Returns the used part of the disk in percent, cut to two decimals.
    pub fn disk_percent(&self) -> f64 {
        percent(self.disk_used, self.disk_total)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).trunc() / 100.0 }
}

/// What goes on, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Requests and pulls of the last 24 hours.
    pub activity: ActivityCounts,
    /// Containers, running or not.
    pub containers: usize,
    /// Containers that run.
    pub running: usize,
    /// How long this server has been up.
    pub uptime: Duration,
}

impl System {
    pub(crate) fn new(core: Arc<Core>, data_dir: PathBuf) -> Self {
        Self { core, data_dir, load: Arc::default(), started: Instant::now() }
    }

    /// Returns what the Engine is.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Docker`] when the Engine is away.
    pub async fn info(&self, actor: &Actor) -> Result<SystemInfo> {
        self.core.gate.permit(actor, Action::SystemRead, &Resource::Any)?;
        Ok(self.core.docker.engine_version().await?)
    }

    /// Returns how busy the machine is.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Docker`] when the Engine is away; [`HomelabError::Metrics`].
    pub async fn metrics(&self, actor: &Actor) -> Result<Metrics> {
        self.core.gate.permit(actor, Action::SystemRead, &Resource::Any)?;
        let (containers, images) =
            tokio::try_join!(self.core.mirror.containers(), self.core.mirror.images())?;
        let engine_folder = self.core.docker.engine_version().await?.root_dir;
        let cpu_percent = self.load.percent().await?;
        let (memory_total, memory_used) = memory(&read("/proc/meminfo")?)?;
        let (disk_total, disk_used) = self.disk(&engine_folder)?;
        let uptime = read("/proc/uptime")?;
        let uptime_secs = uptime.split_whitespace().next().and_then(|text| text.parse().ok());
        Ok(Metrics {
            cpu_percent,
            memory_total,
            memory_used,
            disk_total,
            disk_used,
            uptime_secs: uptime_secs.ok_or_else(|| unreadable("/proc/uptime"))?,
            now: self.core.clock.now(),
            containers: containers.len(),
            images: images.len(),
        })
    }

    /// Returns what goes on, in numbers.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Docker`] when the Engine is away.
    pub async fn summary(&self, actor: &Actor) -> Result<Summary> {
        self.core.gate.permit(actor, Action::ActivityRead, &Resource::Any)?;
        self.core.activity.settled().await;
        let activity = self.core.activity.counts(actor)?;
        let containers = self.core.mirror.containers().await?;
        let running = containers.iter().filter(|container| container.state == "running").count();
        Ok(Summary { activity, containers: containers.len(), running, uptime: self.started.elapsed() })
    }

    /// The file system of the Engine's folder; of ours if that cannot be seen from here, which is mostly the same one.
    fn disk(&self, engine_folder: &str) -> Result<(u64, u64)> {
        let found = rustix::fs::statvfs(engine_folder).or_else(|_unseen| rustix::fs::statvfs(&self.data_dir));
        let found = found.map_err(|error| HomelabError::Metrics(format!("the disk: {error}")))?;
        let total = found.f_blocks.saturating_mul(found.f_frsize);
        let free = found.f_bfree.saturating_mul(found.f_frsize);
        Ok((total, total.saturating_sub(free)))
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| HomelabError::Metrics(format!("{path}: {error}")))
}

fn unreadable(path: &str) -> HomelabError {
    HomelabError::Metrics(format!("{path} does not tell"))
}

/// Reads total and used memory, in bytes.
fn memory(text: &str) -> Result<(u64, u64)> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    let total = of("MemTotal").ok_or_else(|| unreadable("/proc/meminfo"))?;
    let available = of("MemAvailable").or_else(|| of("MemFree")).unwrap_or(0);
    Ok((total * 1024, total.saturating_sub(available) * 1024))
}

/// What the processors did since the machine was started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    fn now() -> Result<Self> {
        Self::parse(&read("/proc/stat")?).ok_or_else(|| unreadable("/proc/stat"))
    }

    /// Reads the line of all processors: user, nice, system, idle, iowait, irq, softirq, steal, and two that are part of
    /// the first two.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        let all = ticks.iter().sum();
        // Waiting for a disk is no work.
        let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
        Some(Self { busy: all - idle, all })
    }

    fn percent_since(self, before: Self) -> f64 {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        percent(busy.min(all), all)
    }
}

/// The load of the processors between two looks.
#[derive(Default)]
struct Load {
    // A std mutex: held to copy a few numbers, never across an await.
    last: Mutex<Option<(Instant, Ticks, f64)>>,
}

impl Load {
    async fn percent(&self) -> Result<f64> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match last {
            Some((at, _, percent)) if at.elapsed() < LOAD_FRESH => return Ok(percent),
            Some((at, ticks, _)) if at.elapsed() < LOAD_STALE => ticks,
            Some(_) | None => {
                let ticks = Ticks::now()?;
                tokio::time::sleep(LOAD_WINDOW).await;
                ticks
            }
        };
        let now = Ticks::now()?;
        let percent = now.percent_since(before);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), now, percent));
        Ok(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b11_the_load_is_that_of_now_and_waiting_and_stolen_time_count() {
        let stat = |numbers: &str| Ticks::parse(&format!("cpu  {numbers}\ncpu0 1 2 3\n")).expect("read");
        let before = stat("1000 0 1000 8000 0 0 0 0 0 0");

        assert_eq!(stat("1050 0 1050 8100 0 0 0 0 0 0").percent_since(before), 50.0);
        assert_eq!(stat("1000 0 1000 8000 100 0 0 0 0 0").percent_since(before), 0.0, "waiting is no work");
        assert_eq!(stat("1000 0 1000 8050 0 0 0 50 0 0").percent_since(before), 50.0, "stolen time is gone");
        assert_eq!(before.percent_since(before), 0.0);
        assert_eq!(Ticks::parse("intr 1 2"), None);
    }

    #[test]
    fn memory_that_the_kernel_could_take_back_is_not_used() {
        let text = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     600 kB\n";

        assert_eq!(memory(text).expect("read"), (1000 * 1024, 400 * 1024));
        assert!(memory("").is_err());
    }
}
