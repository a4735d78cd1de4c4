//! A sandbox whose agents are functions of the test: no process, no CLI, the same moment every time.
//!
//! Everything around it is real: working copies, gateway sockets, log, store.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use claw_agent::sandbox::{
    Exit, GATEWAY_SOCKET_NAME, Limits, Output, Sandbox, SandboxError, SandboxKind, SandboxRun, SandboxSpec,
};
use claw_core::{JobId, NetworkMode, WorkspaceId};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, watch},
    task::JoinHandle,
};

type AgentFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an agent function gets.
pub(crate) struct Agent {
    pub(crate) job: JobId,
    pub(crate) prompt: String,
    pub(crate) work_dir: PathBuf,
    socket: PathBuf,
    output: mpsc::Sender<Output>,
}

impl Agent {
    /// Says a line on standard output.
    pub(crate) async fn say(&self, line: impl Into<Vec<u8>>) {
        // Nobody listens any more once the run was stopped.
        let _ = self.output.send(Output::Stdout { line: line.into(), truncated: false }).await;
    }

    /// Says a line on standard error.
    pub(crate) async fn complain(&self, line: &str) {
        let _ = self.output.send(Output::Stderr { line: line.as_bytes().to_vec() }).await;
    }

    /// Ends well with a closing text.
    pub(crate) async fn done(&self, text: &str) {
        let result = json!({
            "type": "result", "subtype": "success", "is_error": false, "result": text,
            "session_id": "session", "num_turns": 1, "total_cost_usd": 99.0,
        });
        self.say(result.to_string()).await;
    }

    /// Ends with an error of the model API.
    pub(crate) async fn api_error(&self, status: u16) {
        let result = json!({
            "type": "result", "subtype": "error_during_execution", "is_error": true, "session_id": "session",
            "errors": [format!("API Error: {status} broken")], "api_error_status": status,
        });
        self.say(result.to_string()).await;
    }

    /// Appends a line to a file of the working copy.
    pub(crate) fn append(&self, file: &str, line: &str) {
        use std::io::Write;
        let path = self.work_dir.join(file);
        let file = std::fs::File::options().append(true).create(true).open(path);
        writeln!(file.expect("a file of the working copy"), "{line}").expect("written");
    }

    /// Asks the model for one turn through the run's gateway, and returns the answer's status and text.
    pub(crate) async fn ask_model(&self) -> (u16, String) {
        ask_model(&self.socket, &self.prompt).await
    }
}

/// Returns the task that the CLI is given on its standard input.
fn prompt(stdin: &[u8]) -> String {
    let lines = stdin.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let task = lines.filter(|line: &Value| line["type"] == "user").find_map(|line| {
        let content = &line["message"]["content"];
        content.as_str().or_else(|| content[0]["text"].as_str()).map(str::to_owned)
    });
    task.unwrap_or_else(|| String::from_utf8_lossy(stdin).into_owned())
}

/// Sends one request to a gateway's socket.
async fn ask_model(socket: &Path, prompt: &str) -> (u16, String) {
    let body = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": prompt}],
    })
    .to_string();
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         anthropic-version: 2023-06-01\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).await.expect("the gateway listens");
    stream.write_all(request.as_bytes()).await.expect("the gateway reads");
    let mut answer = Vec::new();
    // An answer that breaks off is told apart by its text.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

/// Runs agent functions.
pub(crate) struct FakeSandbox {
    agent: Box<dyn Fn(Agent) -> AgentFuture + Send + Sync>,
    ready: AtomicBool,
    /// Workspaces whose HOME is kept.
    pub(crate) homes: Mutex<HashSet<WorkspaceId>>,
    last: Mutex<Option<(Limits, NetworkMode, Vec<String>)>>,
}

impl FakeSandbox {
    pub(crate) fn new<F>(agent: impl Fn(Agent) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let agent = Box::new(move |it| Box::pin(agent(it)) as AgentFuture);
        Arc::new(Self {
            agent,
            ready: AtomicBool::new(true),
            homes: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// An agent that says it is done.
    pub(crate) fn idle() -> Arc<Self> {
        Self::new(|agent| async move { agent.done("done").await })
    }

    /// Returns the limits and the network of the newest run.
    pub(crate) fn last_limits(&self) -> Option<(Limits, NetworkMode)> {
        self.last.lock().expect("no panic").as_ref().map(|(limits, network, _)| (*limits, *network))
    }

    /// Returns the CLI's arguments of the newest run.
    pub(crate) fn last_arguments(&self) -> Vec<String> {
        self.last.lock().expect("no panic").as_ref().expect("there was a run").2.clone()
    }

    /// Says whether runs can be started.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Local
    }

    fn owner(&self) -> Option<(u32, u32)> {
        None
    }

    async fn ready(&self) -> Result<(), SandboxError> {
        if self.ready.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(SandboxError::NotReady { reason: "the test says no".into() })
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn SandboxRun>, SandboxError> {
        let last = (spec.limits, spec.network, spec.arguments.clone());
        *self.last.lock().expect("no panic") = Some(last);
        if let Some(workspace) = spec.workspace {
            self.homes.lock().expect("no panic").insert(workspace);
        }
        let (output, receiver) = mpsc::channel(64);
        let agent = Agent {
            job: spec.job,
            prompt: prompt(&spec.stdin),
            work_dir: spec.work_dir,
            socket: spec.socket_dir.join(GATEWAY_SOCKET_NAME),
            output,
        };
        let (ended, has_ended) = watch::channel(false);
        let agent = (self.agent)(agent);
        let task = tokio::spawn(async move {
            agent.await;
            // Whoever waited may be gone.
            let _ = ended.send(true);
        });
        Ok(Box::new(FakeRun { output: Some(receiver), has_ended, task: Some(task) }))
    }

    async fn sweep(&self, _live: &HashSet<JobId>) -> Result<usize, SandboxError> {
        Ok(0)
    }

    async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), SandboxError> {
        self.homes.lock().expect("no panic").remove(&workspace);
        Ok(())
    }

    async fn remembered_workspaces(&self) -> Result<Vec<WorkspaceId>, SandboxError> {
        Ok(self.homes.lock().expect("no panic").iter().copied().collect())
    }
}

struct FakeRun {
    output: Option<mpsc::Receiver<Output>>,
    has_ended: watch::Receiver<bool>,
    task: Option<JoinHandle<()>>,
}

#[async_trait]
impl SandboxRun for FakeRun {
    fn take_output(&mut self) -> Option<mpsc::Receiver<Output>> {
        self.output.take()
    }

    async fn stop(&mut self, _grace: Duration) -> Result<(), SandboxError> {
        if let Some(task) = self.task.take() {
            task.abort();
            // Ended or aborted, it runs no more.
            let _ = task.await;
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<Exit, SandboxError> {
        match self.has_ended.wait_for(|ended| *ended).await {
            Ok(_) => Ok(Exit { code: 0, out_of_memory: false }),
            // Aborted or panicked.
            Err(_) => Ok(Exit { code: 137, out_of_memory: false }),
        }
    }

    async fn remove(self: Box<Self>) -> Result<(), SandboxError> {
        Ok(())
    }
}
