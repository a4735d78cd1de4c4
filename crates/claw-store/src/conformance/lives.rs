//! The steps of a job's life, their events, and what is kept at the end.

use claw_core::{IllegalTransition, JobId, JobOutcome, JobState, JobStatus, RunUsage};

use super::setting::*;
use crate::{JobCounts, JobFilter, Store, StoreError, StreamName};

/// Each change of state has one event, in order and without gaps; steps that change no state have none.
pub async fn every_change_has_one_event_in_order(store: Store) {
    let id = submit(&store, request("x")).await.id;
    let first = claim(&store, 0).await.expect("due");
    store.jobs.renew(id, first.token, at(60)).await.expect("held");
    finish(&store, &first, failed(Some(1)), 1).await;
    let second = claim_by(&store, worker(7), 1).await.expect("due again");
    finish(&store, &second, completed(), 2).await;

    let events = events(&store).await;

    use JobStatus::{Completed, Pending, Running};
    let told: Vec<_> = events.iter().map(|event| (event.status, event.worker_id.clone())).collect();
    let expected = [
        (Pending, None),
        (Running, Some(worker(0))),
        (Pending, None),
        (Running, Some(worker(7))),
        (Completed, None),
    ];
    assert_eq!(told, expected);
    assert!(events.iter().all(|event| event.job_id == id && event.owner == "alice"));
    assert_eq!(events.iter().map(|event| event.timestamp).collect::<Vec<_>>(), [0, 0, 1, 1, 2].map(at));
}

/// Nobody has it, so nobody needs to be asked.
pub async fn a_waiting_job_is_cancelled_at_once(store: Store) {
    let id = submit(&store, request("x")).await.id;

    let job = store.jobs.cancel(id, "bob".into(), at(1)).await.expect("it waits");

    assert_eq!(job.state, JobState::Cancelled { started_at: None, finished_at: at(1), by: "bob".into() });
    assert_eq!(claim(&store, 2).await, None);
    assert_eq!(events_of(&store, id).await.len(), 2);
}

/// The holder learns of the request by its next renewal, and its report ends the job as cancelled.
pub async fn a_running_job_is_asked_to_end_and_asking_twice_is_harmless(store: Store) {
    let held = running(&store, 0).await;
    let id = held.job.id;
    store.jobs.cancel(id, "bob".into(), at(1)).await.expect("it runs");
    store.jobs.cancel(id, "carol".into(), at(2)).await.expect("asking twice is harmless");

    let renewed = store.jobs.renew(id, held.token, at(60)).await.expect("still held");

    let asked_by = match &renewed.state {
        JobState::Running { cancel_requested_by, .. } => cancel_requested_by.as_deref(),
        other => panic!("it runs until its holder ends it: {other:?}"),
    };
    assert_eq!(asked_by, Some("bob"), "the first one counts");
    assert_eq!(finish(&store, &held, completed(), 3).await.status(), JobStatus::Cancelled);
    assert_eq!(store.jobs.result(id).await.expect("readable"), None, "a cancelled job has no result");
    let statuses: Vec<_> = events_of(&store, id).await.iter().map(|event| event.status).collect();
    assert_eq!(statuses, [JobStatus::Pending, JobStatus::Running, JobStatus::Cancelled]);
}

/// What ended stays as it ended.
pub async fn an_ended_job_cannot_be_cancelled(store: Store) {
    let held = running(&store, 0).await;
    let job = finish(&store, &held, failed(None), 1).await;

    let refused = store.jobs.cancel(job.id, "bob".into(), at(2)).await;

    assert!(
        matches!(
            refused,
            Err(StoreError::Transition(IllegalTransition::WrongState { status: JobStatus::Failed, .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(store.jobs.get(job.id).await.expect("readable"), Some(job));
}

/// Cancel and finish at the same moment: one end, one event of it, and a cancel that was acknowledged wins.
pub async fn a_cancel_that_races_a_finish_leaves_one_end(store: Store) {
    for round in 0..30 {
        let held = running(&store, 0).await;
        let id = held.job.id;

        let (cancelled, finished) = tokio::join!(
            store.jobs.cancel(id, "bob".into(), at(1)),
            store.jobs.finish(id, held.token, completed(), usage(), at(1)),
        );

        finished.expect("the holder may finish");
        let job = store.jobs.get(id).await.expect("readable").expect("stored");
        let expected = if cancelled.is_ok() { JobStatus::Cancelled } else { JobStatus::Completed };
        assert_eq!(job.status(), expected, "round {round}");
        let ends: Vec<_> = events_of(&store, id)
            .await
            .into_iter()
            .map(|event| event.status)
            .filter(|status| status.is_terminal())
            .collect();
        assert_eq!(ends, [expected], "round {round}");
        let result = store.jobs.result(id).await.expect("readable");
        assert_eq!(result.is_some(), expected == JobStatus::Completed, "round {round}");
    }
}

/// The result reads back, and what every run used is added up.
pub async fn a_finish_keeps_result_and_usage(store: Store) {
    let first = running(&store, 0).await;
    let id = first.job.id;
    finish(&store, &first, failed(Some(1)), 1).await;
    assert_eq!(store.jobs.result(id).await.expect("readable"), None);
    let second = claim(&store, 1).await.expect("due again");

    let job = finish(&store, &second, completed(), 9).await;

    let stored = store.jobs.result(id).await.expect("readable").expect("it completed");
    assert_eq!(JobOutcome::Completed { result: stored.result }, completed());
    assert_eq!(stored.finished_at, at(9));
    assert_eq!(job.usage, RunUsage { cost_usd: Some(0.5), duration_ms: 20 });
    assert_eq!(store.jobs.get(id).await.expect("readable"), Some(job));
}

/// Neither a wrong token nor a second report changes anything.
pub async fn a_finish_without_the_newest_lease_is_refused(store: Store) {
    let held = running(&store, 0).await;
    let id = held.job.id;
    let wrong = store.jobs.finish(id, held.token + 1, completed(), usage(), at(1)).await;
    assert!(matches!(wrong, Err(StoreError::Transition(IllegalTransition::LostLease))), "{wrong:?}");
    let job = finish(&store, &held, failed(None), 2).await;

    let again = store.jobs.finish(id, held.token, completed(), usage(), at(3)).await;

    assert!(matches!(again, Err(StoreError::Transition(IllegalTransition::LostLease))), "{again:?}");
    assert_eq!(store.jobs.get(id).await.expect("readable"), Some(job));
    assert_eq!(events_of(&store, id).await.len(), 3);
}

/// Waiting and running jobs are counted as they are, ended ones for ever.
pub async fn p4_counts_follow_every_step_and_outlive_deletion(store: Store) {
    submit_all(&store, (0..5).map(|n| request(&format!("job {n}")))).await;
    let done = claim(&store, 0).await.expect("due");
    finish(&store, &done, completed(), 1).await;
    let broken = claim(&store, 1).await.expect("due");
    finish(&store, &broken, failed(None), 2).await;
    let stopped = claim(&store, 2).await.expect("due");
    store.jobs.cancel(stopped.job.id, "bob".into(), at(3)).await.expect("it runs");
    finish(&store, &stopped, JobOutcome::Cancelled, 3).await;
    claim(&store, 4).await.expect("due");
    let expected = JobCounts { pending: 1, running: 1, completed: 1, failed: 1, cancelled: 1 };
    assert_eq!(store.jobs.counts().await.expect("readable"), expected);

    for ended in [done, broken, stopped] {
        store.jobs.delete(ended.job.id).await.expect("it ended");
    }

    assert_eq!(store.jobs.counts().await.expect("readable"), expected);
    let page = store.jobs.list(JobFilter { limit: 10, ..JobFilter::default() }).await.expect("readable");
    assert_eq!((page.items.len(), page.total), (2, 2), "lists show what is stored");
}

/// Deleting takes row, result, log and key along; a job that is not over stays.
pub async fn only_ended_jobs_are_deleted_and_nothing_of_them_stays(store: Store) {
    let mut submitted = request("x");
    submitted.idempotency_key = Some("key".into());
    let id = submit(&store, submitted.clone()).await.id;
    let log = StreamName::job_log(id);
    store.streams.append(&log, vec![b"line".to_vec()], at(0)).await.expect("written");
    assert!(is_wrong_state(store.jobs.delete(id).await), "it waits");
    let held = claim(&store, 0).await.expect("due");
    assert!(is_wrong_state(store.jobs.delete(id).await), "it runs");
    finish(&store, &held, completed(), 1).await;

    store.jobs.delete(id).await.expect("it ended");

    assert_eq!(store.jobs.get(id).await.expect("readable"), None);
    assert_eq!(store.jobs.result(id).await.expect("readable"), None);
    assert_eq!(store.streams.read(&log, 0, 10).await.expect("readable"), []);
    assert!(matches!(store.jobs.delete(id).await, Err(StoreError::JobNotFound(unknown)) if unknown == id));
    submitted.id = JobId::new();
    let again = store.jobs.submit(submitted, at(2)).await.expect("stored");
    assert!(again.created, "the key went with the job");
}

fn is_wrong_state(outcome: Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Transition(IllegalTransition::WrongState { .. })))
}

/// A job that never was is not found, by any call.
pub async fn unknown_jobs_are_told_apart(store: Store) {
    let id = JobId::new();

    assert_eq!(store.jobs.get(id).await.expect("readable"), None);
    assert_eq!(store.jobs.result(id).await.expect("readable"), None);
    let outcomes = [
        store.jobs.renew(id, 1, at(1)).await.map(drop),
        store.jobs.finish(id, 1, completed(), usage(), at(1)).await.map(drop),
        store.jobs.cancel(id, "bob".into(), at(1)).await.map(drop),
        store.jobs.delete(id).await,
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(StoreError::JobNotFound(unknown)) if unknown == id), "{outcome:?}");
    }
}
