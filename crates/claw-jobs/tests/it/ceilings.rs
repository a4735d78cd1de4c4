//! What a workspace and a job may ask for: never more than the installation gives.

use claw_core::{Coded, ErrorCode, JobSource, JobSpec, NetworkMode, Persistence};
use claw_jobs::{NewJob, NewWorkspace, SettingEntry, WorkspaceChange, WorkspaceLimits};
use claw_store::{NewDocument, Precondition};

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, agent, new_workspace},
};

fn limits(memory: Option<u64>, cpus: Option<f64>, network: Option<NetworkMode>) -> WorkspaceLimits {
    WorkspaceLimits { memory_limit_bytes: memory, cpu_limit: cpus, network_mode: network }
}

fn with(limits: WorkspaceLimits) -> NewWorkspace {
    NewWorkspace { limits, ..new_workspace("w", Persistence::Persistent) }
}

async fn set(house: &House, key: &str, value: &str) {
    let entry = SettingEntry { key: key.into(), value: value.into() };
    house.settings.set(&admin(), vec![entry]).await.expect("changed");
}

#[tokio::test]
async fn s8_t28_a_workspace_cannot_give_itself_a_network_or_more_of_the_machine() {
    let house = House::new().await;
    let workspace = house.workspace(&agent("a")).await;
    let cases = [
        (limits(None, None, Some(NetworkMode::Bridge)), "`network_mode` is bridge, more than the none"),
        (limits(Some((1 << 30) + 1), None, None), "`memory_limit` is 1073741825, more than the 1g"),
        (limits(None, Some(1.5), None), "`cpu_limit` is 1.5, more than the 1.0"),
    ];

    for (limits, text) in cases {
        let created = house.workspaces.create(&agent("a"), with(limits.clone())).await.expect_err("refused");
        let change = WorkspaceChange {
            name: workspace.name.clone(),
            description: String::new(),
            claude_md: None,
            remote_url: None,
            limits,
        };
        let changed = house.workspaces.update(&agent("a"), workspace.id, change).await.expect_err("refused");

        for refused in [created, changed] {
            assert_eq!(refused.code(), ErrorCode::InvalidRequest);
            assert!(refused.to_string().starts_with(text), "{refused}");
        }
    }
    let unchanged = house.workspaces.get(&agent("a"), workspace.id).await.expect("there");
    assert_eq!((unchanged.network_mode, unchanged.cpu_limit), (None, None));
}

#[tokio::test]
async fn a_workspace_may_ask_for_less_and_for_more_once_an_administrator_raised_it() {
    let house = House::new().await;

    let less = with(limits(Some(1 << 29), Some(0.5), Some(NetworkMode::None)));
    house.workspaces.create(&agent("a"), less).await.expect("within the limits");
    set(&house, "docker_network_mode", "bridge").await;
    set(&house, "docker_memory_limit", "8g").await;
    let more = with(limits(Some(8 << 30), None, Some(NetworkMode::Bridge)));
    house.workspaces.create(&agent("a"), more).await.expect("within the new limits");
}

#[tokio::test]
async fn a_record_from_before_the_ceiling_was_lowered_runs_within_it() {
    let house = House::with(Options { network: NetworkMode::Bridge, ..Options::default() }).await;
    let new = with(limits(Some(1 << 30), Some(1.0), Some(NetworkMode::Bridge)));
    let workspace = house.workspaces.create(&admin(), new).await.expect("made");
    for (key, value) in
        [("docker_network_mode", "none"), ("docker_memory_limit", "64m"), ("docker_cpu_limit", "0.5")]
    {
        set(&house, key, value).await;
    }
    let sandbox = FakeSandbox::idle();
    let worker = house.worker_in(sandbox.clone()).await;

    let spec = JobSpec { workspace_id: Some(workspace.id), ..JobSpec::new("x", JobSource::Api) };
    let job = house.submit(&admin(), spec).await.id;
    house.ended(job).await;

    worker.shutdown().await;
    let (limits, network) = sandbox.last_limits().expect("it ran");
    assert_eq!((limits.memory_bytes, limits.cpus, network), (64 << 20, 0.5, NetworkMode::None));
}

#[tokio::test]
async fn a_job_may_not_cost_more_than_a_job_may_here() {
    let house = House::with(Options { budget_ceiling: Some(5.0), ..Options::default() }).await;
    let new = |dollars| {
        let spec = JobSpec { max_budget_usd: Some(dollars), ..JobSpec::new("x", JobSource::Api) };
        NewJob { spec, idempotency_key: None }
    };

    house.jobs.submit(&agent("a"), new(5.0)).await.expect("as much as a job may cost");
    let refused = house.jobs.submit(&agent("a"), new(5.01)).await.expect_err("refused");
    set(&house, "max_budget_usd", "6").await;
    house.jobs.submit(&agent("a"), new(5.01)).await.expect("the ceiling was raised");

    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert!(refused.to_string().starts_with("`max_budget_usd` is $5.01, more than the $5.00"), "{refused}");
}

#[tokio::test]
async fn an_empty_list_of_tools_means_that_none_was_given() {
    let house = House::new().await;
    let sandbox = FakeSandbox::idle();
    let worker = house.worker_in(sandbox.clone()).await;

    let spec = JobSpec { allowed_tools: Some(Vec::new()), ..JobSpec::new("x", JobSource::Api) };
    let job = house.submit(&admin(), spec).await;
    house.ended(job.id).await;

    worker.shutdown().await;
    let arguments = sandbox.last_arguments();
    assert!(!arguments.iter().any(|it| it.to_lowercase().contains("allowed")), "{arguments:?}");
    // The record stays as it was sent.
    assert_eq!(house.job(job.id).await.spec.allowed_tools, Some(Vec::new()));
}

#[tokio::test]
async fn a_workspace_record_that_cannot_be_read_is_an_error_and_not_another_workspace() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let document = house.store.documents.get("workspace", &workspace.id.to_string()).await;
    let document = document.expect("the store answers").expect("there");
    let broken = NewDocument {
        kind: "workspace",
        id: document.id,
        sort_key: String::new(),
        owner: document.owner,
        value: serde_json::json!({ "id": "?" }),
    };
    house.store.documents.put(broken, Precondition::None).await.expect("written");

    let refused = house.workspaces.get(&admin(), workspace.id).await.expect_err("it cannot be read");

    assert_eq!(refused.code(), ErrorCode::Internal);
}
