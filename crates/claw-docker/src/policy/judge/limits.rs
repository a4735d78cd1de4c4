//! How much a container may take.

use super::{Case, quoted, toml_text};
use crate::policy::{ContainerWish, LogWish, MountWishSource, rules::Bytes};

/// The Engine's own lower bound for memory.
const MIN_MEMORY: u64 = 6 << 20;
/// Log drivers that keep files, and whose size can be chosen.
const WITH_FILES: &[&str] = &["json-file", "local"];

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    judge_memory(case, result);
    judge_cpus(case, result);
    let most = case.rules.limits.pids;
    // Zero and nothing mean the same to the Engine: no limit.
    match result.pids.filter(|&pids| pids != 0) {
        Some(pids) if pids > most => {
            let message = format!("{pids} processes are more than the {most} that are permitted here");
            case.refuse_unless("limits.pids", "pids", message, format!("limits.pids = {pids}"));
        }
        asked => result.pids = Some(asked.unwrap_or(most)),
    }
    result.shm_bytes = result.shm_bytes.filter(|&bytes| bytes != 0);
    if let Some(bytes) = result.shm_bytes {
        let most = case.rules.limits.shm;
        judge_bytes(case, "limits.shm", "shm_bytes".to_owned(), bytes, most);
    }
    judge_tmpfs(case, result);
    judge_log(case, result);
}

fn judge_bytes(case: &mut Case<'_>, rule: &'static str, field: String, bytes: u64, most: Bytes) {
    if bytes > most.0 {
        let asked = Bytes(bytes);
        let message = format!("{asked} are more than the {most} that are permitted here");
        case.refuse_unless(rule, field, message, format!("{rule} = \"{asked}\""));
    }
}

fn judge_memory(case: &mut Case<'_>, result: &mut ContainerWish) {
    result.memory_bytes = result.memory_bytes.filter(|&bytes| bytes != 0);
    match (result.memory_bytes, case.rules.limits.memory) {
        (Some(bytes), _) if bytes < MIN_MEMORY || i64::try_from(bytes).is_err() => {
            case.refuse(
                "limits.memory",
                "memory_bytes",
                format!("{bytes} bytes of memory: expected 6m or more"),
            );
        }
        (Some(bytes), Some(most)) => {
            judge_bytes(case, "limits.memory", "memory_bytes".to_owned(), bytes, most)
        }
        (None, Some(most)) => result.memory_bytes = Some(most.0),
        (_, None) => {}
    }
}

fn judge_cpus(case: &mut Case<'_>, result: &mut ContainerWish) {
    result.cpus = result.cpus.filter(|&cpus| cpus != 0.0);
    match (result.cpus, case.rules.limits.cpus) {
        (Some(cpus), _) if !(cpus.is_finite() && (0.001..=4096.0).contains(&cpus)) => {
            case.refuse("limits.cpus", "cpus", "processor cores: expected a number between 0.001 and 4096");
        }
        (Some(cpus), Some(most)) if cpus > most => {
            let message = format!("{cpus} processor cores are more than the {most} that are permitted here");
            case.refuse_unless("limits.cpus", "cpus", message, format!("limits.cpus = {cpus:?}"));
        }
        (None, Some(most)) => result.cpus = Some(most),
        _ => {}
    }
}

fn judge_tmpfs(case: &mut Case<'_>, result: &mut ContainerWish) {
    let most = case.rules.limits.tmpfs;
    for (index, mount) in result.mounts.iter_mut().enumerate() {
        if let MountWishSource::Tmpfs { bytes } = &mut mount.source {
            // Zero and nothing mean the same to the kernel: half of the memory.
            let size = *bytes.insert(bytes.filter(|&bytes| bytes != 0).unwrap_or(most.0));
            judge_bytes(case, "limits.tmpfs", format!("mounts[{index}].source"), size, most);
        }
    }
}

fn judge_log(case: &mut Case<'_>, result: &mut ContainerWish) {
    let rules = &case.rules.log;
    let log = result.log.get_or_insert_with(LogWish::default);
    let driver =
        log.driver.take().filter(|driver| !driver.is_empty()).unwrap_or_else(|| rules.drivers[0].clone());
    if !rules.drivers.contains(&driver) {
        let mut drivers: Vec<_> = rules.drivers.iter().map(|named| toml_text(named)).collect();
        drivers.push(toml_text(&driver));
        let message = format!("the log driver {} is not permitted here", quoted(&driver));
        let permit = format!("log.drivers = [{}]", drivers.join(", "));
        return case.refuse_unless("log.driver", "log.driver", message, permit);
    }
    let keeps_files = WITH_FILES.contains(&driver.as_str());
    let (mut size, mut files) = (rules.max_size.0, u64::from(rules.max_files));
    for (name, value) in &log.options {
        let understood = match name.as_str() {
            _ if !keeps_files => false,
            "max-size" => Bytes::read(value).filter(|&bytes| bytes > 0).map(|bytes| size = bytes).is_some(),
            "max-file" => {
                value.parse().ok().filter(|&number| number > 0).map(|number| files = number).is_some()
            }
            "compress" => matches!(value.as_str(), "true" | "false"),
            _ => false,
        };
        if !understood {
            let message = format!("the log option {} is not known here, or has no such value", quoted(name));
            case.refuse("log.options", format!("log.options[{}]", quoted(name)), message);
        }
    }
    if keeps_files {
        let most = rules.most;
        judge_log_size(case, size.saturating_mul(files), most);
        log.options.insert("max-size".to_owned(), Bytes(size).to_string());
        log.options.insert("max-file".to_owned(), files.to_string());
    }
    log.driver = Some(driver);
}

fn judge_log_size(case: &mut Case<'_>, bytes: u64, most: Bytes) {
    if bytes > most.0 {
        let message = format!("logs of {} are more than the {most} that are permitted here", Bytes(bytes));
        case.refuse_unless("log.size", "log.options", message, format!("log.most = \"{}\"", Bytes(bytes)));
    }
}
