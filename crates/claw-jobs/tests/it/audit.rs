//! Every change of jobs, workspaces and settings is in the audit trail: before it happens, and how it went.

use claw_core::{Actor, Coded, JobSource, JobSpec, Persistence};
use claw_gate::AuditFilter;
use claw_jobs::{JobsError, NewJob, RetentionRules, SettingEntry, WorkspaceChange, WorkspaceLimits};
use claw_store::StreamName;

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, admin, agent, new_workspace},
};

/// Returns verb, target and result of every entry by `actor`, oldest first.
async fn trail(house: &House, actor: &Actor) -> Vec<(String, String, String)> {
    let filter = AuditFilter { actor: Some(actor.owner()), limit: 100, ..AuditFilter::default() };
    let page = house.gate.audit_list(&admin(), filter).await.expect("a page");
    let entry = |it: claw_gate::AuditView| {
        let code = it.result.code().map(|code| format!(" {code}")).unwrap_or_default();
        (it.act.verb, it.act.target, format!("{}{code}", it.result.as_str()))
    };
    page.items.into_iter().map(entry).rev().collect()
}

fn spec() -> JobSpec {
    JobSpec::new("a prompt that nobody but its reader is to see", JobSource::Api)
}

fn new(spec: JobSpec) -> NewJob {
    NewJob { spec, idempotency_key: None }
}

#[tokio::test]
async fn t31_every_change_leaves_what_was_meant_and_how_it_went() {
    let house = House::new().await;
    let alice = agent("alice");
    let workspace =
        house.workspaces.create(&alice, new_workspace("w", Persistence::Persistent)).await.expect("made").id;
    let path = "a.txt".parse().expect("a path");
    house.workspaces.write_file(&alice, workspace, &path, b"x").await.expect("written");
    house.workspaces.delete_file(&alice, workspace, &path).await.expect("deleted");
    house.workspaces.delete_file(&alice, workspace, &path).await.expect_err("it is gone");
    let change = WorkspaceChange {
        name: "v".parse().expect("a name"),
        description: String::new(),
        claude_md: None,
        remote_url: None,
        limits: WorkspaceLimits::default(),
    };
    house.workspaces.update(&alice, workspace, change).await.expect("changed");
    let spec = JobSpec { workspace_id: Some(workspace), ..spec() };
    let job = house.jobs.submit(&alice, new(spec)).await.expect("submitted").job.id;
    house.workspaces.delete(&alice, workspace, true).await.expect_err("it is busy");
    house.jobs.cancel(&alice, job).await.expect("cancelled");
    house.jobs.delete(&alice, job).await.expect("deleted");
    house.workspaces.delete(&alice, workspace, true).await.expect("deleted");

    let (workspace, job) = (format!("workspace:{workspace}"), format!("job:{job}"));
    let expected = [
        ("workspace.create", &workspace, "done"),
        ("file.write", &workspace, "done"),
        ("file.delete", &workspace, "done"),
        ("file.delete", &workspace, "failed FILE_NOT_FOUND"),
        ("workspace.change", &workspace, "done"),
        ("job.submit", &job, "done"),
        ("workspace.delete", &workspace, "failed WORKSPACE_BUSY"),
        ("job.cancel", &job, "done"),
        ("job.delete", &job, "done"),
        ("workspace.delete", &workspace, "done"),
    ];
    let seen = trail(&house, &alice).await;
    let seen: Vec<_> =
        seen.iter().map(|(verb, target, result)| (verb.as_str(), target, result.as_str())).collect();
    assert_eq!(seen, expected);
    for record in house.store.streams.read(&StreamName::audit(), 0, 1000).await.expect("records") {
        assert!(!String::from_utf8_lossy(&record.data).contains("nobody but its reader"));
    }
}

#[tokio::test]
async fn t31_changes_by_administrators_are_in_the_trail_too() {
    let house = House::new().await;
    let entry = |value: &str| SettingEntry { key: "docker_cpu_limit".into(), value: value.into() };

    house.settings.set(&admin(), vec![entry("0.5")]).await.expect("changed");
    house.settings.set(&admin(), vec![entry("none")]).await.expect_err("refused");
    let retention = house.retention(FakeSandbox::idle(), RetentionRules::default());
    retention.gc(&admin(), false).await.expect("done");

    let seen = trail(&house, &admin()).await;
    let results: Vec<_> = seen.iter().map(|(verb, _, result)| (verb.as_str(), result.as_str())).collect();
    let expected =
        [("settings.change", "done"), ("settings.change", "failed INVALID_REQUEST"), ("house.gc", "done")];
    assert_eq!(results, expected);
}

#[tokio::test]
async fn t31_what_was_refused_is_in_the_trail_and_never_began() {
    let house = House::new().await;
    let (alice, bob) = (agent("alice"), agent("bob"));
    let workspace = house.workspace(&alice).await.id;
    let job = house.submit(&alice, spec()).await.id;
    let path = "a.txt".parse().expect("a path");

    let refusals: [Result<(), JobsError>; 6] = [
        house.jobs.cancel(&bob, job).await.map(|_| ()),
        house.jobs.delete(&bob, job).await,
        house.workspaces.write_file(&bob, workspace, &path, b"x").await,
        house.workspaces.delete(&bob, workspace, true).await,
        house.jobs.submit(&bob, new(JobSpec { workspace_id: Some(workspace), ..spec() })).await.map(|_| ()),
        house.settings.set(&bob, Vec::new()).await.map(|_| ()),
    ];

    assert!(refusals.iter().all(Result::is_err));
    let codes: Vec<_> = refusals.iter().map(|it| it.as_ref().expect_err("refused").code().as_str()).collect();
    let none = ["JOB_NOT_FOUND", "JOB_NOT_FOUND"];
    let no_workspace = ["WORKSPACE_NOT_FOUND"; 3];
    assert_eq!(codes, [&none[..], &no_workspace[..], &["SCOPE_REQUIRED"][..]].concat());
    let seen = trail(&house, &bob).await;
    let verbs: Vec<_> = seen.iter().map(|(verb, _, _)| verb.as_str()).collect();
    assert_eq!(
        verbs,
        ["job.cancel", "job.delete", "file.write", "workspace.delete", "job.submit", "settings.change"]
    );
    assert!(seen.iter().all(|(_, _, result)| result.starts_with("denied")), "{seen:?}");
    house.workspaces.read_file(&admin(), workspace, &path).await.expect_err("nothing was written");
}
