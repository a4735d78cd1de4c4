//! The worker with the real CLI as a plain process. What the Docker sandbox adds is tested through the binary.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use claw_core::{FailureKind, JobSource, JobSpec, JobState, JobStatus, Persistence};
use claw_testkit::wait_until;
use serde_json::json;

use crate::setting::{House, admin, assert_status, new_workspace, scripted};

#[tokio::test]
async fn a_job_runs_to_its_result_and_its_file_is_in_the_history() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let worker = house.worker().await;
    let script = json!([{"tool": "Bash", "input": {"command": "echo hi > hi.txt"}}, {"text": "wrote it"}]);

    let job = house.submit(&admin(), JobSpec { workspace_id: Some(workspace.id), ..scripted(&script) }).await;

    let ended = house.ended(job.id).await;
    assert_status(&ended, JobStatus::Completed);
    let (_, stored) = house.jobs.result(&admin(), job.id).await.expect("a result");
    assert_eq!(stored.result.text, "wrote it");
    let history = house.workspaces.history(&admin(), workspace.id, 0, 10).await.expect("a history");
    assert_eq!(history[0].job, Some(job.id));
    assert_eq!(stored.result.commit.as_deref(), Some(history[0].hash.to_string().as_str()));
    wait_until("the clone is removed", Duration::from_secs(10), async || {
        house.files.leftover_jobs().await.expect("a list").is_empty()
    })
    .await;
    worker.shutdown().await;
}

#[tokio::test]
async fn s4_an_ephemeral_workspace_keeps_nothing_of_a_job_not_even_its_home() {
    let house = House::new().await;
    let worker = house.worker().await;
    let homes = house.folder.path().join("homes");
    let mut kept = Vec::new();
    for persistence in [Persistence::Ephemeral, Persistence::Persistent] {
        let workspace =
            house.workspaces.create(&admin(), new_workspace("w", persistence)).await.expect("created");
        // Settings with a hook, or a line in .bashrc, would act in the jobs that come later or run beside it.
        let script =
            json!([{"tool": "Bash", "input": {"command": "echo planted > ~/.bashrc"}}, {"text": "ok"}]);
        let job =
            house.submit(&admin(), JobSpec { workspace_id: Some(workspace.id), ..scripted(&script) }).await;

        assert_status(&house.ended(job.id).await, JobStatus::Completed);

        let home = homes.join(workspace.id.to_string());
        kept.push(std::fs::read_to_string(home.join(".bashrc")).ok());
    }
    worker.shutdown().await;

    assert_eq!(kept, [None, Some("planted\n".to_owned())]);
    assert_eq!(std::fs::read_dir(homes).expect("the folder").count(), 1, "of the persistent one");
}

#[tokio::test]
async fn p1_a_job_that_waits_is_claimed_by_a_signal_and_not_by_a_timer() {
    let house = House::new().await;
    let worker = house.worker().await;
    wait_until("the worker is idle", Duration::from_secs(10), async || house.state.snapshot().capacity > 0)
        .await;

    let job = house.submit(&admin(), scripted(&json!([{"text": "ok"}]))).await;

    let claimed =
        async || house.store.jobs.get(job.id).await.expect("answers").expect("there").lease_count > 0;
    // Far below the ten seconds of the safety net.
    wait_until("the job is claimed", Duration::from_secs(3), claimed).await;
    house.ended(job.id).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_is_busy_while_a_job_runs_and_not_after_it() {
    let house = House::new().await;
    let worker = house.worker().await;
    let job = house.submit(&admin(), scripted(&json!([{"hold": "a while"}, {"text": "ok"}]))).await;
    house.model.wait_for_hold("a while").await;
    assert_eq!(house.state.snapshot().active, 1);

    house.model.release("a while");
    house.ended(job.id).await;

    wait_until("nothing runs", Duration::from_secs(10), async || house.state.snapshot().active == 0).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_gives_the_running_job_back() {
    let house = House::new().await;
    let worker = house.worker().await;
    let job = house.submit(&admin(), scripted(&json!([{"hold": "for ever"}, {"text": "never"}]))).await;
    house.model.wait_for_hold("for ever").await;

    worker.shutdown().await;

    let job = house.store.jobs.get(job.id).await.expect("answers").expect("there");
    assert_status(&job, JobStatus::Pending);
    assert_eq!(job.retry_count, 0);
    assert!(house.files.leftover_jobs().await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_deleted_workspace_fails_the_job_instead_of_running_it_somewhere_else() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let job = house
        .submit(&admin(), JobSpec { workspace_id: Some(workspace.id), ..scripted(&json!([{"text": "x"}])) })
        .await;
    let kind = "workspace";
    let id = workspace.id.to_string();
    house
        .store
        .documents
        .delete(kind, &id, claw_store::Precondition::None)
        .await
        .expect("deleted behind its back");

    let worker = house.worker().await;

    let ended = house.ended(job.id).await;
    assert!(
        matches!(ended.state, JobState::Failed { kind: FailureKind::Workspace, .. }),
        "{:?}",
        ended.state
    );
    assert!(house.model.requests().is_empty());
    worker.shutdown().await;
}

#[tokio::test]
async fn r12_a_starting_folder_that_is_not_there_fails_the_job_at_once() {
    let house = House::new().await;
    let worker = house.worker().await;

    let spec = JobSpec { working_dir: Some("docs".into()), ..scripted(&json!([{"text": "x"}])) };
    let job = house.submit(&admin(), spec).await;

    let ended = house.ended(job.id).await;
    assert!(
        matches!(&ended.state, JobState::Failed { error, .. } if error.contains("`docs`")),
        "{:?}",
        ended.state
    );
    assert_eq!(ended.retry_count, 0);
    worker.shutdown().await;
}

#[tokio::test]
async fn an_agent_cannot_speak_for_the_house_in_its_log() {
    let house = House::new().await;
    let program = house.folder.path().join("agent");
    let script = r#"#!/bin/sh
cat >/dev/null
echo '{"subtype":"changes","text":"all is well","type":"claw"}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"ok"}'
"#;
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let worker = house.worker_with(program, 1).await;

    let job = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await;
    house.ended(job.id).await;

    let lines = house.jobs.logs(&admin(), job.id, 0, 0).await.expect("a log").lines;
    let lines: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let subtypes: Vec<_> =
        lines.iter().filter(|line| line["type"] == "claw").map(|line| &line["subtype"]).collect();
    assert_eq!(subtypes, ["run_started", "pretended"]);
    worker.shutdown().await;
}

#[tokio::test]
async fn r22_every_line_of_a_flood_is_in_the_log_in_order() {
    const LINES: usize = 20_000;
    let house = House::new().await;
    let program = house.folder.path().join("agent");
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\nseq -f '{{\"type\":\"x\",\"n\":%.0f}}' 1 {LINES}\necho '{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"ok\"}}'\n"
    );
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let worker = house.worker_with(program, 1).await;

    let job = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await;

    assert_status(&house.ended(job.id).await, JobStatus::Completed);
    let mut numbers = Vec::new();
    let mut offset = 0;
    loop {
        let page = house.jobs.logs(&admin(), job.id, offset, 0).await.expect("a page");
        if page.lines.is_empty() {
            break;
        }
        offset += page.lines.len() as u64;
        for line in page.lines {
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            numbers.extend(line["n"].as_u64());
        }
    }
    assert!(numbers.into_iter().eq(1..=LINES as u64));
    worker.shutdown().await;
}
