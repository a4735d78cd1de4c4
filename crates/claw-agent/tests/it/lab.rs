//! Everything a run needs, in one temporary folder.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use claw_agent::{
    gateway::{CredentialSource, Gateway, GatewayConfig},
    invocation::Invocation,
    local::{LocalConfig, LocalSandbox},
    run::{LineObserver, RunEnd, RunReport, RunRequest, run_agent},
    sandbox::{Limits, Output},
    stream::Event,
};
use claw_core::{FailureKind, JobId, NetworkMode, Secret, SystemClock, WorkspaceId};
use claw_testkit::{FakeApi, TempDir, claude_binary, wait_until};
use tokio_util::sync::CancellationToken;

use crate::meters::Unmetered;

/// The key that only the upstream may see.
pub(crate) const REAL_KEY: &str = "sk-ant-canary-4711";

/// Longer than anything a test waits for on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A fake API, a gateway before it, and a local sandbox.
pub(crate) struct Lab {
    pub(crate) folder: TempDir,
    pub(crate) api: FakeApi,
    pub(crate) gateway: Gateway,
    pub(crate) sandbox: LocalSandbox,
    pub(crate) data_dir: PathBuf,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(FakeApi::builder().require_key(REAL_KEY).start().await, "data", claude_binary())
    }

    pub(crate) fn with(api: FakeApi, data_dir: &str, program: PathBuf) -> Self {
        let folder = TempDir::new();
        std::fs::create_dir(folder.join("work")).unwrap();
        let data_dir = folder.join(data_dir);
        let gateway = gateway(&api, CredentialSource::ApiKey(Secret::new(REAL_KEY)));
        let sandbox = LocalSandbox::new(config(program, &data_dir));
        Self { folder, api, gateway, sandbox, data_dir }
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.folder.join("work")
    }

    pub(crate) fn request(&self, prompt: impl Into<String>) -> RunRequest {
        RunRequest {
            job: JobId::new(),
            attempt: 1,
            workspace: None,
            work_dir: self.work_dir(),
            current_dir: None,
            invocation: Invocation { prompt: prompt.into(), ..Invocation::default() },
            environment: Vec::new(),
            limits: Limits { memory_bytes: 1 << 30, cpus: 1.0, pids: 256 },
            network: NetworkMode::None,
            timeout: PATIENCE * 2,
            run_root: self.data_dir.join("run"),
            previous_session_cost_usd: None,
            warm: None,
            disk: None,
            meter: Arc::new(Unmetered),
        }
    }

    pub(crate) async fn run(&self, request: RunRequest) -> RunReport {
        let report =
            run_agent(&self.sandbox, &self.gateway, request, Recorder::default(), CancellationToken::new())
                .await;
        self.assert_nothing_left();
        report
    }

    pub(crate) async fn run_prompt(&self, prompt: impl Into<String>) -> RunReport {
        self.run(self.request(prompt)).await
    }

    /// Waits until the agent has made `name` in its folder.
    pub(crate) async fn wait_for_file(&self, name: &str) {
        let path = self.work_dir().join(name);
        wait_until(&format!("the agent made {name}"), PATIENCE, async || path.exists()).await;
    }

    /// Checks that a run left no process, socket, folder or record.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new(), "processes of the run");
        assert_eq!(entries(&self.data_dir.join("run")), Vec::<String>::new(), "folders of the run");
        assert_eq!(entries(&self.data_dir.join("local-runs")), Vec::<String>::new(), "records of the run");
        let homes = entries(&self.data_dir.join("homes"));
        assert!(homes.iter().all(|home| home.parse::<WorkspaceId>().is_ok()), "HOMEs of runs: {homes:?}");
    }

    /// Command lines of the processes that work inside this lab.
    pub(crate) fn processes(&self) -> Vec<String> {
        let work_dir = self.work_dir().canonicalize().unwrap();
        let ids = entries(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok());
        let inside = |id: &String| {
            std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|folder| folder.starts_with(&work_dir))
        };
        ids.filter(inside)
            .map(|id| {
                std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().replace('\0', " ")
            })
            .filter(|line| !line.is_empty())
            .collect()
    }
}

pub(crate) fn config(program: PathBuf, data_dir: &Path) -> LocalConfig {
    LocalConfig {
        program,
        data_dir: data_dir.to_owned(),
        path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
        lang: "C.UTF-8".to_owned(),
    }
}

pub(crate) fn gateway(api: &FakeApi, credential: CredentialSource) -> Gateway {
    gateway_with(api.base_url(), credential, |_| {})
}

pub(crate) fn gateway_with(
    upstream: &str,
    credential: CredentialSource,
    change: impl FnOnce(&mut GatewayConfig),
) -> Gateway {
    let mut config = GatewayConfig::new(credential);
    config.upstream = upstream.parse().unwrap();
    change(&mut config);
    Gateway::new(config, Arc::new(SystemClock)).unwrap()
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A script for the fake model, as a prompt.
pub(crate) fn script(steps: serde_json::Value) -> String {
    format!("Please do this. FAKE:{steps}")
}

/// A script that runs one command and ends.
pub(crate) fn bash(command: &str) -> String {
    script(serde_json::json!([{"tool": "Bash", "input": {"command": command}}, {"text": "done"}]))
}

pub(crate) fn completed(report: &RunReport) -> &str {
    match &report.end {
        RunEnd::Completed { text } => text,
        other => panic!("the run did not complete: {other:?}"),
    }
}

pub(crate) fn failed(report: &RunReport) -> (FailureKind, &str) {
    match &report.end {
        RunEnd::Failed { kind, message } => (*kind, message),
        other => panic!("the run did not fail: {other:?}"),
    }
}

/// Keeps what it is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl LineObserver for Recorder {
    async fn line(&mut self, output: &Output, events: &[Event]) {
        let bytes = match output {
            Output::Stdout { line, .. } | Output::Stderr { line } => line,
        };
        assert!(!events.is_empty() || !bytes.starts_with(b"{"), "an event was not understood as one");
        self.lines.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
    }
}
