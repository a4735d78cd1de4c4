//! Workspaces: records, files, timeline.

use claw_core::{Coded, ErrorCode, JobSource, JobSpec, WorkspaceEventKind, WorkspaceId};
use claw_jobs::{WorkspaceChange, WorkspaceLimits};

use crate::setting::{House, admin, agent};

#[tokio::test]
async fn files_are_written_read_and_deleted_and_the_timeline_tells() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let path = "docs/hello.md".parse().expect("a path");

    house.workspaces.write_file(&admin(), workspace.id, &path, b"hello").await.expect("written");
    let content = house.workspaces.read_file(&admin(), workspace.id, &path).await.expect("read");
    house.workspaces.delete_file(&admin(), workspace.id, &path).await.expect("deleted");

    assert_eq!(content, b"hello");
    let gone = house.workspaces.read_file(&admin(), workspace.id, &path).await.expect_err("it is gone");
    assert_eq!(gone.code(), ErrorCode::FileNotFound);
    let (events, total) = house.workspaces.events(&admin(), workspace.id, 0, 10).await.expect("events");
    let kinds: Vec<_> = events.iter().map(|event| event.event_type).collect();
    use WorkspaceEventKind::{FileModified, Initialized};
    assert_eq!((kinds, total), (vec![FileModified, FileModified, Initialized], 3));
}

#[tokio::test]
async fn s21_another_key_cannot_see_or_touch_the_workspace() {
    let house = House::new().await;
    let workspace = house.workspace(&agent("alice")).await;
    let (bob, id) = (agent("bob"), workspace.id);
    let path = "a".parse().expect("a path");

    let refusals = [
        house.workspaces.get(&bob, id).await.map(|_| ()),
        house.workspaces.files(&bob, id).await.map(|_| ()),
        house.workspaces.read_file(&bob, id, &path).await.map(|_| ()),
        house.workspaces.write_file(&bob, id, &path, b"x").await,
        house.workspaces.delete_file(&bob, id, &path).await,
        house.workspaces.history(&bob, id, 0, 10).await.map(|_| ()),
        house.workspaces.events(&bob, id, 0, 10).await.map(|_| ()),
        house.workspaces.delete(&bob, id, true).await,
    ];

    for refusal in refusals {
        assert_eq!(refusal.expect_err("it is refused").code(), ErrorCode::WorkspaceNotFound);
    }
    assert_eq!(house.workspaces.list(&bob, 0, 10).await.expect("a list").1, 0);
}

#[tokio::test]
async fn a_workspace_with_open_jobs_is_not_deleted() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let spec = JobSpec { workspace_id: Some(workspace.id), ..JobSpec::new("x", JobSource::Api) };
    let job = house.submit(&admin(), spec).await;

    let refused = house.workspaces.delete(&admin(), workspace.id, true).await.expect_err("it is busy");
    house.jobs.cancel(&admin(), job.id).await.expect("cancelled");
    house.workspaces.delete(&admin(), workspace.id, true).await.expect("deleted");

    assert_eq!(refused.code(), ErrorCode::WorkspaceBusy);
    assert!(!house.files.exists(workspace.id).await);
}

#[tokio::test]
async fn r24_an_update_replaces_what_it_names_and_keeps_the_limits_it_does_not() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await;
    let change = |name: &str, memory_limit_bytes| WorkspaceChange {
        name: name.parse().expect("a name"),
        description: "d".into(),
        claude_md: None,
        remote_url: None,
        limits: WorkspaceLimits { memory_limit_bytes, ..WorkspaceLimits::default() },
    };

    house.workspaces.update(&admin(), workspace.id, change("one", Some(1 << 30))).await.expect("updated");
    let updated =
        house.workspaces.update(&admin(), workspace.id, change("two", None)).await.expect("updated");
    let refused = house.workspaces.update(&admin(), workspace.id, change("three", Some(1))).await;

    assert_eq!((updated.name.as_str(), updated.memory_limit_bytes), ("two", Some(1 << 30)));
    assert_eq!(refused.expect_err("too small").code(), ErrorCode::InvalidRequest);
    let unknown = house.workspaces.update(&admin(), WorkspaceId::new(), change("x", None)).await;
    assert_eq!(unknown.expect_err("unknown").code(), ErrorCode::WorkspaceNotFound);
}
