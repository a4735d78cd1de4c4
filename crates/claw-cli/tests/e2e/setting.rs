//! What the tests here share: a server with a model, a sandbox and a workspace.

use std::{path::Path, time::Duration};

use claw_testkit::{DockerScope, FakeApi, TempDir, TestServer, wait_until};
use serde_json::{Value, json};

/// The key that only the server may hold.
pub(crate) const REAL_KEY: &str = "sk-ant-real-key-that-never-enters-a-sandbox";

/// The program under test.
pub(crate) const CLAW: &str = env!("CARGO_BIN_EXE_claw");

/// A server with everything it needs. Fields drop in order: the server first, then what it used.
pub(crate) struct Setting {
    pub(crate) server: TestServer,
    pub(crate) model: FakeApi,
    pub(crate) docker: DockerScope,
    pub(crate) folder: TempDir,
}

impl Setting {
    /// Starts a server whose jobs run in Docker against a scripted model.
    pub(crate) async fn docker() -> Self {
        Self::docker_with(&[]).await
    }

    /// The same, with more variables for the server.
    pub(crate) async fn docker_with(environment: &[(&str, &str)]) -> Self {
        let mut docker = DockerScope::new();
        let folder = TempDir::new();
        let model = FakeApi::start().await;
        let base_url = model.base_url();
        let mut variables =
            vec![("ANTHROPIC_BASE_URL", base_url), ("ANTHROPIC_API_KEY", REAL_KEY), ("RUST_LOG", "info")];
        variables.extend_from_slice(environment);
        let data_dir = folder.path().join("data");
        std::fs::create_dir(&data_dir).expect("a data folder");
        let server = TestServer::start(Path::new(CLAW), &data_dir, &variables).await;
        docker.also_remove_label(format!("claw.instance={}", instance(&server)));
        Self { server, model, docker, folder }
    }

    /// Submits a job whose model plays `script`, and returns its id.
    pub(crate) async fn submit(&self, script: Value, arguments: &[&str]) -> String {
        let prompt = prompt(&script);
        let submitted = self.server.claw_json(&[&["submit", prompt.as_str()], arguments].concat()).await;
        // With `--wait` the answer is the job's result.
        let id = submitted["id"].as_str().or(submitted["job_id"].as_str());
        id.expect("an id").to_owned()
    }

    /// Returns the job as the API shows it.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.server.claw_json(&["status", id]).await
    }

    /// Waits until the job has one of the given states, and returns it.
    pub(crate) async fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        let mut last = Value::Null;
        let reached = async || {
            last = self.job(id).await;
            states.contains(&last["status"].as_str().unwrap_or_default())
        };
        wait_until(&format!("job {id} is {states:?}"), Duration::from_secs(90), reached).await;
        last
    }

    /// Waits until the job has ended, and returns it.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        self.wait_for(id, &["completed", "failed", "cancelled"]).await
    }

    /// Makes a workspace and returns its id.
    pub(crate) async fn workspace(&self, name: &str) -> String {
        let workspace = self.server.claw_json(&["workspace", "create", name]).await;
        workspace["id"].as_str().expect("an id").to_owned()
    }

    /// Asserts that nothing of any run is left: no container, clone or socket folder.
    pub(crate) async fn assert_nothing_left(&self) {
        wait_until("no container is left", Duration::from_secs(20), async || {
            self.docker.containers().is_empty()
        })
        .await;
        for folder in ["jobs", "run"] {
            let path = self.server.data_dir().join(folder);
            wait_until(&format!("{} is empty", path.display()), Duration::from_secs(20), async || {
                std::fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none())
            })
            .await;
        }
    }
}

/// Returns the prompt that makes the model play `script`.
pub(crate) fn prompt(script: &Value) -> String {
    format!("Do as the script says. FAKE:{script}")
}

/// A step in which the agent runs a command.
pub(crate) fn bash(command: &str) -> Value {
    json!({"tool": "Bash", "input": {"command": command}})
}

fn instance(server: &TestServer) -> String {
    std::fs::read_to_string(server.data_dir().join("instance"))
        .expect("the server named its data")
        .trim()
        .to_owned()
}
