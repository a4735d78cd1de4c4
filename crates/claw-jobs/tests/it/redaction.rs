//! Secrets of ours that an agent, or an error, has got hold of are kept nowhere.

use std::path::Path;

use claw_core::{JobSource, JobSpec, JobStatus};
use serde_json::json;

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{API_TOKEN, House, MODEL_KEY, admin, assert_status},
};

/// Tells whether any file of the folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => holds(&path, text),
            Ok(metadata) if metadata.is_file() => {
                let content = std::fs::read(&path).expect("readable");
                content.windows(text.len()).any(|window| window == text.as_bytes())
            }
            // A socket, or gone meanwhile.
            Ok(_) | Err(_) => false,
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t12_a_secret_in_an_agents_output_or_error_is_kept_nowhere() {
    let mut house = House::new().await;
    let workspace = house.workspace(&admin()).await.id;
    let worker = house
        .worker_in(FakeSandbox::new(|agent| async move {
            let said = format!("the key is {MODEL_KEY}, the token {API_TOKEN}");
            let line = json!({
                "type": "assistant",
                "message": {"role": "assistant", "content": [{"type": "text", "text": said}]},
            });
            agent.say(line.to_string()).await;
            agent.say(format!("no JSON, but {MODEL_KEY}")).await;
            agent.complain(&said).await;
            if agent.prompt.contains("fail") {
                let result = json!({
                    "type": "result", "subtype": "error_during_execution", "is_error": true,
                    "session_id": "s", "errors": [said],
                });
                return agent.say(result.to_string()).await;
            }
            agent.append(&format!("{API_TOKEN}.txt"), "a name that tells");
            agent.done(&said).await;
        }))
        .await;

    for (prompt, status) in [("end well", JobStatus::Completed), ("fail", JobStatus::Failed)] {
        let spec = JobSpec { workspace_id: Some(workspace), ..JobSpec::new(prompt, JobSource::Api) };
        let job = house.submit(&admin(), spec).await.id;

        let ended = house.ended(job).await;

        assert_status(&ended, status);
        let log = house.jobs.logs(&admin(), job, 0, 0).await.expect("a log");
        let result = house.store.jobs.result(job).await.expect("the store answers");
        let events = house.workspaces.events(&admin(), workspace, 0, 100).await.expect("a timeline");
        let seen = format!("{ended:?} {log:?} {result:?} {events:?}");
        assert!(seen.contains("the key is [redacted], the token [redacted]"), "{seen}");
        for secret in [MODEL_KEY, API_TOKEN] {
            assert!(!seen.contains(secret), "{seen}");
        }
    }
    worker.shutdown().await;
    house.cut_store().await;
    let data = house.folder.path();
    for file in std::fs::read_dir(data).expect("the data folder") {
        let path = file.expect("an entry").path();
        // What the agent keeps in its own workspace is its own affair.
        if path.is_dir() && path.file_name().is_some_and(|name| name == "repos") {
            continue;
        }
        for secret in [MODEL_KEY, API_TOKEN] {
            let found = if path.is_dir() {
                holds(&path, secret)
            } else {
                let content = std::fs::read(&path).expect("readable");
                content.windows(secret.len()).any(|window| window == secret.as_bytes())
            };
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}
