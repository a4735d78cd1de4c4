//! Settings of the installation that an administrator may change while it runs, over the server's own configuration.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use claw_agent::sandbox::{Limits, SandboxKind};
use claw_core::{Action, Actor, JobSpec, NetworkMode, Resource, Usd, Workspace};
use claw_gate::{Deed, EffectPlace, Gate};
use claw_store::{NewDocument, Precondition, Store, StoreError};
use serde_json::json;
use tokio::sync::watch;

use crate::{JobsError, WorkspaceLimits};

const KIND: &str = "setting";
const ID: &str = "installation";

/// What the server's configuration says; the lowest layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsDefaults {
    /// Where jobs run. Fixed for the life of the server: no request can move jobs onto the host.
    pub backend: SandboxKind,
    /// Image of the Docker sandbox. Fixed for the life of the server.
    pub sandbox_image: String,
    /// Limits of one run.
    pub limits: Limits,
    /// Network of one run.
    pub network: NetworkMode,
    /// Wall time of one run.
    pub timeout: Duration,
    /// Most that one job may cost, unless it says otherwise.
    pub max_budget_usd: Option<f64>,
    /// Most that any job may cost, whatever it says; `None` for no ceiling.
    pub budget_ceiling: Option<Usd>,
    /// Most that all jobs together may cost in a day (UTC); `None` for no limit.
    pub max_cost_per_day: Option<Usd>,
    /// Whether the server has a credential for the model API.
    pub has_model_credential: bool,
}

/// What a worker reads before each run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// Limits of one run.
    pub limits: Limits,
    /// Network of one run.
    pub network: NetworkMode,
    /// Wall time of one run.
    pub timeout: Duration,
    /// Most that one job may cost, unless it says otherwise.
    pub default_budget: Option<Usd>,
    /// Most that any job may cost, whatever it says; `None` for no ceiling.
    pub budget_ceiling: Option<Usd>,
    /// Most that all jobs together may cost in a day (UTC); `None` for no limit.
    pub max_cost_per_day: Option<Usd>,
}

impl RunSettings {
    /// Returns what a job may cost over all its runs: what it asks for or else the default, and never more than the
    /// ceiling, which may have been lowered since it was submitted.
    pub(crate) fn budget(&self, spec: &JobSpec) -> Option<Usd> {
        let asked = spec.max_budget_usd.and_then(Usd::from_dollars).or(self.default_budget);
        match (asked, self.budget_ceiling) {
            (Some(asked), Some(ceiling)) => Some(asked.min(ceiling)),
            (asked, ceiling) => asked.or(ceiling),
        }
    }

    /// Refuses limits beyond those of the installation: the right to write a workspace is no right to more of the
    /// machine, or to its network.
    pub(crate) fn check_limits(&self, limits: &WorkspaceLimits) -> Result<(), JobsError> {
        let over = |what, asked, most| Err(JobsError::OverCeiling { what, asked, most });
        if let Some(bytes) = limits.memory_limit_bytes.filter(|bytes| *bytes > self.limits.memory_bytes) {
            return over("`memory_limit`", format_size(bytes), format_size(self.limits.memory_bytes));
        }
        if let Some(cpus) = limits.cpu_limit.filter(|cpus| *cpus > self.limits.cpus) {
            return over("`cpu_limit`", format!("{cpus:?}"), format!("{:?}", self.limits.cpus));
        }
        match limits.network_mode {
            Some(NetworkMode::Bridge) if self.network == NetworkMode::None => {
                over("`network_mode`", "bridge".to_owned(), "none".to_owned())
            }
            Some(NetworkMode::Bridge | NetworkMode::None) | None => Ok(()),
        }
    }

    /// Returns the limits and the network for a run in `workspace`: its own, within those of the installation, which may
    /// have been lowered since the workspace was made.
    pub(crate) fn within(&self, workspace: Option<&Workspace>) -> (Limits, NetworkMode) {
        let (mut limits, mut network) = (self.limits, self.network);
        if let Some(workspace) = workspace {
            let memory = workspace.memory_limit_bytes.unwrap_or(limits.memory_bytes);
            limits.memory_bytes = memory.min(limits.memory_bytes);
            limits.cpus = workspace.cpu_limit.unwrap_or(limits.cpus).min(limits.cpus);
            network = match (workspace.network_mode, network) {
                (Some(NetworkMode::None), _) | (_, NetworkMode::None) => NetworkMode::None,
                (Some(NetworkMode::Bridge) | None, NetworkMode::Bridge) => NetworkMode::Bridge,
            };
        }
        (limits, network)
    }
}

/// One setting as doors show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingEntry {
    /// Its name.
    pub key: String,
    /// Its value as text; secrets read `***set***`.
    pub value: String,
}

/// Reads and changes settings.
#[derive(Clone)]
pub struct Settings {
    store: Store,
    gate: Gate,
    defaults: SettingsDefaults,
    changed: Arc<watch::Sender<u64>>,
}

type Changes = BTreeMap<String, String>;

const MEMORY: &str = "docker_memory_limit";
const CPUS: &str = "docker_cpu_limit";
const PIDS: &str = "docker_pids_limit";
const NETWORK: &str = "docker_network_mode";
const TIMEOUT: &str = "default_timeout_secs";
const BUDGET: &str = "default_max_budget_usd";
const BUDGET_CEILING: &str = "max_budget_usd";
const COST_PER_DAY: &str = "max_cost_per_day_usd";
const FIXED: [&str; 3] = ["execution_backend", "sandbox_image", "anthropic_api_key"];

impl Settings {
    /// Wires the settings.
    pub fn new(store: Store, gate: Gate, defaults: SettingsDefaults) -> Self {
        Self { store, gate, defaults, changed: Arc::default() }
    }

    /// Returns where jobs run.
    pub fn backend(&self) -> SandboxKind {
        self.defaults.backend
    }

    /// Returns every setting.
    pub async fn all(&self, actor: &Actor) -> Result<Vec<SettingEntry>, JobsError> {
        self.gate.permit(actor, Action::ConfigRead, &Resource::Any)?;
        let (changes, _) = self.load().await?;
        Ok(self.entries(&self.merge(&changes)?))
    }

    /// Returns one setting.
    ///
    /// # Errors
    ///
    /// [`JobsError::UnknownSetting`].
    pub async fn get(&self, actor: &Actor, key: &str) -> Result<SettingEntry, JobsError> {
        let entries = self.all(actor).await?;
        entries
            .into_iter()
            .find(|entry| entry.key == key)
            .ok_or_else(|| JobsError::UnknownSetting(shown(key)))
    }

    /// Changes settings: all of them, or none if one is refused. Returns how many were given.
    ///
    /// # Errors
    ///
    /// [`JobsError::UnknownSetting`] and [`JobsError::BadSetting`].
    ///
    /// What waits for a limit is looked at again at once.
    pub async fn set(&self, actor: &Actor, new: Vec<SettingEntry>) -> Result<usize, JobsError> {
        let names: Vec<_> = new.iter().map(|entry| shown(&entry.key)).collect();
        let deed = Deed {
            action: Action::ConfigWrite,
            verb: "settings.change",
            resource: Resource::Any,
            target: String::new(),
            place: EffectPlace::Store,
            detail: Some(json!({ "settings": names })),
        };
        let count = self.gate.perform(actor, deed, self.change(new)).await?;
        tracing::info!(by = actor.owner(), count, "settings changed");
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(count)
    }

    async fn change(&self, new: Vec<SettingEntry>) -> Result<usize, JobsError> {
        let (mut changes, version) = self.load().await?;
        let count = new.len();
        for SettingEntry { key, value } in new {
            if FIXED.contains(&key.as_str()) {
                // Clients send the whole map back after editing one value.
                if self
                    .entries(&self.merge(&changes)?)
                    .iter()
                    .any(|entry| entry.key == key && entry.value == value)
                {
                    continue;
                }
                let reason =
                    "it is part of the server's own configuration: change it there and restart the server";
                return Err(JobsError::BadSetting { key, reason: reason.into() });
            }
            changes.insert(key, value);
        }
        self.merge(&changes)?;
        let value = serde_json::to_value(&changes)
            .map_err(|error| StoreError::Corrupt { what: "settings".into(), reason: error.to_string() })?;
        let document =
            NewDocument { kind: KIND, id: ID.into(), sort_key: String::new(), owner: String::new(), value };
        let precondition = version.map_or(Precondition::Absent, Precondition::Version);
        self.store.documents.put(document, precondition).await?;
        Ok(count)
    }

    /// Wakes whoever waits for a setting to change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns what holds for the next run.
    pub(crate) async fn for_run(&self) -> Result<RunSettings, JobsError> {
        let (changes, _) = self.load().await?;
        self.merge(&changes)
    }

    async fn load(&self) -> Result<(Changes, Option<u64>), StoreError> {
        let Some(document) = self.store.documents.get(KIND, ID).await? else {
            return Ok((Changes::new(), None));
        };
        let changes = serde_json::from_value(document.value)
            .map_err(|error| StoreError::Corrupt { what: "settings".into(), reason: error.to_string() })?;
        Ok((changes, Some(document.version)))
    }

    fn merge(&self, changes: &Changes) -> Result<RunSettings, JobsError> {
        let defaults = &self.defaults;
        let mut settings = RunSettings {
            limits: defaults.limits,
            network: defaults.network,
            timeout: defaults.timeout,
            default_budget: defaults.max_budget_usd.and_then(Usd::from_dollars),
            budget_ceiling: defaults.budget_ceiling,
            max_cost_per_day: defaults.max_cost_per_day,
        };
        for (key, value) in changes {
            let bad = |reason: &str| JobsError::BadSetting { key: key.clone(), reason: reason.to_owned() };
            match key.as_str() {
                MEMORY => {
                    settings.limits.memory_bytes = parse_size(value)
                        .filter(|bytes| (64 << 20..=1 << 40).contains(bytes))
                        .ok_or_else(|| bad("expected a size from 64m to 1024g, such as `4g`"))?;
                }
                CPUS => {
                    settings.limits.cpus = parse_within(value, 0.1, 256.0)
                        .ok_or_else(|| bad("expected a number of cores from 0.1 to 256, such as `2.0`"))?;
                }
                PIDS => {
                    settings.limits.pids = value
                        .parse()
                        .ok()
                        .filter(|pids| (16..=65_536).contains(pids))
                        .ok_or_else(|| bad("expected a number from 16 to 65536"))?;
                }
                NETWORK => {
                    settings.network = value.parse().map_err(|_| bad("expected `none` or `bridge`"))?
                }
                TIMEOUT => {
                    let secs = value.parse().ok().filter(|secs| (1..=86_400).contains(secs));
                    settings.timeout =
                        Duration::from_secs(secs.ok_or_else(|| bad("expected seconds from 1 to 86400"))?);
                }
                BUDGET => settings.default_budget = parse_money(value, 10_000.0, &bad)?,
                BUDGET_CEILING => settings.budget_ceiling = parse_money(value, 10_000.0, &bad)?,
                COST_PER_DAY => settings.max_cost_per_day = parse_money(value, 1_000_000.0, &bad)?,
                _ => return Err(JobsError::UnknownSetting(shown(key))),
            }
        }
        Ok(settings)
    }

    fn entries(&self, settings: &RunSettings) -> Vec<SettingEntry> {
        let entry = |key: &str, value: String| SettingEntry { key: key.to_owned(), value };
        let credential = if self.defaults.has_model_credential { "***set***" } else { "" };
        vec![
            entry("execution_backend", self.defaults.backend.as_str().to_owned()),
            entry("sandbox_image", self.defaults.sandbox_image.clone()),
            entry("anthropic_api_key", credential.to_owned()),
            entry(MEMORY, format_size(settings.limits.memory_bytes)),
            entry(CPUS, format!("{:?}", settings.limits.cpus)),
            entry(PIDS, settings.limits.pids.to_string()),
            entry(NETWORK, settings.network.as_str().to_owned()),
            entry(TIMEOUT, settings.timeout.as_secs().to_string()),
            entry(BUDGET, money(settings.default_budget)),
            entry(BUDGET_CEILING, money(settings.budget_ceiling)),
            entry(COST_PER_DAY, money(settings.max_cost_per_day)),
        ]
    }
}

fn shown(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Reads an amount; nothing means no limit.
fn parse_money(text: &str, max: f64, bad: &impl Fn(&str) -> JobsError) -> Result<Option<Usd>, JobsError> {
    if text.is_empty() {
        return Ok(None);
    }
    let amount = parse_within(text, 0.01, max).and_then(Usd::from_dollars);
    let expected = || bad(&format!("expected US dollars from 0.01 to {max}, or nothing for no limit"));
    amount.map(Some).ok_or_else(expected)
}

fn money(amount: Option<Usd>) -> String {
    amount.map(|usd| usd.dollars().to_string()).unwrap_or_default()
}

fn parse_within(text: &str, min: f64, max: f64) -> Option<f64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// Reads a size such as `512m`, `4g` or a plain number of bytes, with 1,024 to the step, as Docker does.
pub fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// Writes a size as [`parse_size`] reads it.
pub fn format_size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{}g", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in
            [("4g", Some(4 << 30)), ("512M", Some(512 << 20)), ("1024", Some(1024)), ("2gb", Some(2 << 30))]
        {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
        for text in ["", "g", "-1g", "1.5g", "4 g x", "99999999999999999999g", "18446744073709551615g"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
