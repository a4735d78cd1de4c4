//! Submits and their idempotency keys.

use claw_core::{JobId, JobSpec, JobState, JobStatus, OutputDest, Priority, WorkspaceId};
use tokio::task::JoinSet;

use super::setting::*;
use crate::{Store, StoreError, SubmitRequest};

fn keyed(prompt: &str) -> SubmitRequest {
    SubmitRequest { idempotency_key: Some("key".into()), ..request(prompt) }
}

/// Nothing of a job is lost or changed by storing it.
pub async fn a_job_reads_back_as_it_was_submitted(store: Store) {
    let spec = JobSpec {
        prompt: "Zeile eins\nzwei \u{1f980} \"quoted\" \0 end".into(),
        model: Some("opus".into()),
        max_budget_usd: Some(0.75),
        allowed_tools: Some(vec!["Bash(git:*)".into(), "Read".into()]),
        tags: vec!["night".into(), "b".into()],
        output_dest: OutputDest::Redis,
        source: claw_core::JobSource::Cron,
        priority: Priority::from(9),
        timeout_secs: Some(60),
        workspace_id: Some(WorkspaceId::new()),
        working_dir: Some("src".into()),
    };
    let submitted = SubmitRequest { spec: spec.clone(), ..request("") };
    let id = submitted.id;

    let job = store.jobs.submit(submitted, at(3)).await.expect("stored").job;

    assert_eq!((job.id, &job.spec, job.created_at), (id, &spec, at(3)));
    assert_eq!(job.state, JobState::Pending { not_before: None, last_error: None });
    assert_eq!(store.jobs.get(id).await.expect("readable"), Some(job));
}

/// The second submit with a key makes nothing, and shows the first job as it stands now.
pub async fn an_idempotency_key_returns_the_first_job(store: Store) {
    let first = store.jobs.submit(keyed("x"), at(0)).await.expect("stored");
    let held = claim(&store, 1).await.expect("due");
    let ended = finish(&store, &held, completed(), 2).await;

    let second = store.jobs.submit(keyed("x"), at(3)).await.expect("answered");

    assert!(first.created && !second.created);
    assert_eq!(second.job, ended);
    assert_eq!(events(&store).await.len(), 3, "no second job, no event");
}

/// Another request under the same key is a mistake of the caller's.
pub async fn a_key_used_for_another_request_is_refused(store: Store) {
    submit(&store, keyed("x")).await;
    let mut other_tags = keyed("x");
    other_tags.spec.tags = vec!["t".into()];

    for other in [keyed("y"), other_tags] {
        let refused = store.jobs.submit(other, at(1)).await;

        assert!(
            matches!(&refused, Err(StoreError::IdempotencyMismatch { key }) if key == "key"),
            "{refused:?}"
        );
    }
    assert_eq!(store.jobs.counts().await.expect("readable").pending, 1);
}

/// Keys belong to their owner.
pub async fn another_owner_may_use_the_same_key(store: Store) {
    let alice = submit(&store, keyed("x")).await;

    let bob = store.jobs.submit(SubmitRequest { owner: "bob".into(), ..keyed("y") }, at(0)).await;

    let bob = bob.expect("stored");
    assert!(bob.created);
    assert_ne!(bob.job.id, alice.id);
}

/// Sixteen submits with one key at the same time: one job, and all get it.
pub async fn submits_that_race_with_one_key_make_one_job(store: Store) {
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        tasks.spawn(async move { store.jobs.submit(keyed("x"), at(0)).await.expect("answered") });
    }

    let answers = tasks.join_all().await;

    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert!(answers.iter().all(|answer| answer.job == answers[0].job));
    assert_eq!(store.jobs.counts().await.expect("readable").pending, 1);
}

/// An id that is taken is refused, and the job that has it stays as it is.
pub async fn an_id_is_used_once(store: Store) {
    let first = submit(&store, request("first")).await;

    let refused = store.jobs.submit(SubmitRequest { id: first.id, ..request("second") }, at(1)).await;

    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.jobs.get(first.id).await.expect("readable"), Some(first));
    let other = submit(&store, SubmitRequest { id: JobId::new(), ..request("third") }).await;
    assert_eq!(other.status(), JobStatus::Pending);
}
