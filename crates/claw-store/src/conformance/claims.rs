//! Claims: who gets which job, and what becomes of a job whose holder is gone.

use std::collections::BTreeSet;

use claw_core::{FailureKind, IllegalTransition, JobId, JobOutcome, JobState, JobStatus, WorkspaceId};
use tokio::task::JoinSet;

use super::{model, setting::*};
use crate::{Store, StoreError};

/// A job is handed to one worker, however many ask at the same time.
pub async fn one_job_goes_to_one_of_sixteen_claimers(store: Store) {
    let id = submit(&store, request("only one")).await.id;

    let claims = claim_concurrently(&store, 16, 1).await;

    assert_eq!(claims, [id]);
}

/// A queue that many workers empty gives each job once.
pub async fn sixteen_workers_share_a_queue_without_doubles(store: Store) {
    let submitted = submit_all(&store, (0..64).map(|n| request(&format!("job {n}")))).await;

    let claims = claim_concurrently(&store, 16, usize::MAX).await;

    assert_eq!(claims.len(), submitted.len());
    assert_eq!(claims.into_iter().collect::<BTreeSet<_>>(), submitted.into_iter().collect::<BTreeSet<_>>());
}

async fn claim_concurrently(store: &Store, workers: usize, times: usize) -> Vec<JobId> {
    let mut tasks = JoinSet::new();
    for slot in 0..workers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut ids = Vec::new();
            while ids.len() < times
                && let Some(claimed) = claim_by(&store, worker(slot), 0).await
            {
                ids.push(claimed.job.id);
            }
            ids
        });
    }
    tasks.join_all().await.concat()
}

/// Priority first, then the order of submit.
pub async fn the_highest_priority_goes_first_and_the_oldest_of_it(store: Store) {
    let priorities = [5, 0, 9, 5, 9, 1];
    let ids = submit_all(&store, priorities.map(|priority| with_priority(request("x"), priority))).await;

    let claimed = claim_all(&store, 0).await;

    assert_eq!(claimed, [2, 4, 0, 3, 5, 1].map(|index: usize| ids[index]));
}

/// While an exclusive job runs, no other exclusive one of its workspace is handed out; all others are.
pub async fn an_exclusive_workspace_runs_one_job_at_a_time(store: Store) {
    let (busy, other) = (WorkspaceId::new(), WorkspaceId::new());
    let mut shared = request("shared");
    shared.spec.workspace_id = Some(busy);
    let requests = [
        exclusive("first", busy),
        with_priority(exclusive("second", busy), 4),
        with_priority(shared, 3),
        with_priority(exclusive("elsewhere", other), 2),
        with_priority(request("nowhere"), 1),
        with_priority(exclusive("third", busy), 5),
    ];
    let ids = submit_all(&store, requests).await;
    let first = claim(&store, 0).await.expect("the first is due");
    assert_eq!(first.job.id, ids[0]);

    let beside = claim_all(&store, 0).await;

    assert_eq!(beside, [ids[2], ids[3], ids[4]]);
    finish(&store, &first, completed(), 1).await;
    assert_eq!(claim_all(&store, 1).await, [ids[5]], "then the most urgent of those that waited, alone");
}

/// The rule is decided inside the claim: two claims at the same moment do not both see a free workspace.
pub async fn claimers_that_race_never_run_two_exclusive_jobs_of_a_workspace(store: Store) {
    let workspaces = [WorkspaceId::new(), WorkspaceId::new()];
    for round in 0..10 {
        submit_all(&store, workspaces.map(|workspace| exclusive(&format!("round {round}"), workspace))).await;
    }

    for round in 0..10 {
        let claims = claim_concurrently(&store, 16, 1).await;

        assert_eq!(claims.len(), workspaces.len(), "round {round}");
        let running = store.jobs.running().await.expect("readable");
        let busy: BTreeSet<_> = running.iter().filter_map(|job| job.spec.workspace_id).collect();
        assert_eq!((running.len(), busy.len()), (2, 2), "round {round}: one job each");
        for job in running {
            store.jobs.finish(job.id, 1, completed(), usage(), at(0)).await.expect("the holder may finish");
        }
    }
}

/// A waiting exclusive job that goes away does not hold up those behind it.
pub async fn a_cancelled_exclusive_job_makes_room_for_the_next(store: Store) {
    let workspace = WorkspaceId::new();
    let ids = submit_all(&store, ["first", "second"].map(|prompt| exclusive(prompt, workspace))).await;

    store.jobs.cancel(ids[0], "alice".into(), at(0)).await.expect("it waits");

    assert_eq!(claim_all(&store, 0).await, [ids[1]]);
}

/// An exclusive job that is to be tried later does not keep its workspace busy until then.
pub async fn p13_an_exclusive_job_that_backs_off_lets_others_pass(store: Store) {
    let workspace = WorkspaceId::new();
    let ids = submit_all(&store, ["first", "second"].map(|prompt| exclusive(prompt, workspace))).await;
    let first = claim(&store, 0).await.expect("due");
    finish(&store, &first, failed(Some(10)), 1).await;

    let second = claim(&store, 1).await.expect("the workspace is free");

    assert_eq!(second.job.id, ids[1]);
    assert_eq!(claim(&store, 11).await, None, "the first is due and its workspace is busy");
    finish(&store, &second, completed(), 12).await;
    assert_eq!(claim_all(&store, 12).await, [ids[0]]);
}

/// Exclusive means alone in a workspace; without one there is nothing to be alone in.
pub async fn a_job_without_a_workspace_is_never_exclusive(store: Store) {
    let mut requests = [request("one"), request("two")];
    requests.iter_mut().for_each(|request| request.exclusive = true);
    let ids = submit_all(&store, requests).await;

    assert_eq!(claim_all(&store, 0).await, ids);
}

/// A worker that fell silent loses its job, and cannot write to it any more when it comes back.
pub async fn a_lapsed_lease_is_claimable_and_its_old_holder_refused(store: Store) {
    let old = running(&store, 0).await;
    assert_eq!(claim(&store, LEASE_SECS - 1).await, None, "the lease still holds");

    let new = claim_by(&store, worker(1), LEASE_SECS).await.expect("the lease lapsed");

    assert_eq!(new.job.id, old.job.id);
    assert!(new.token > old.token, "the token grows");
    assert_eq!(new.job.retry_count, 1);
    let renewed = store.jobs.renew(old.job.id, old.token, at(99)).await;
    assert!(lost_lease(renewed), "the old holder cannot renew");
    let finished = store.jobs.finish(old.job.id, old.token, completed(), usage(), at(31)).await;
    assert!(lost_lease(finished), "the old holder cannot finish");
    assert_eq!(store.jobs.result(old.job.id).await.expect("readable"), None);
    finish(&store, &new, completed(), 32).await;
}

fn lost_lease<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Transition(IllegalTransition::LostLease)))
}

/// Renewing keeps a job.
pub async fn a_renewed_lease_does_not_lapse(store: Store) {
    let held = running(&store, 0).await;

    store.jobs.renew(held.job.id, held.token, at(100)).await.expect("the holder may renew");

    assert_eq!(claim(&store, 99).await, None);
    assert_eq!(store.jobs.lapse(&[], MAX_RETRIES, at(99)).await.expect("works"), []);
    assert!(claim(&store, 100).await.is_some());
}

/// A job that kills its workers is given up after the last retry.
pub async fn a_job_whose_workers_keep_dying_fails_in_the_end(store: Store) {
    let id = submit(&store, request("poison")).await.id;
    let mut second = 0;
    for _ in 0..=MAX_RETRIES {
        assert_eq!(claim_all(&store, second).await, [id]);
        second += LEASE_SECS;
    }

    let lapsed = store.jobs.lapse(&[], MAX_RETRIES, at(second)).await.expect("works");

    assert_eq!(lapsed.len(), 1);
    assert_eq!(lapsed[0].worker, worker(0));
    assert!(
        matches!(&lapsed[0].job.state, JobState::Failed { kind: FailureKind::WorkerLost, .. }),
        "{:?}",
        lapsed[0].job.state
    );
    assert_eq!(store.jobs.get(id).await.expect("readable").as_ref(), Some(&lapsed[0].job));
    assert_eq!(claim(&store, second + LEASE_SECS).await, None);
}

/// A server that starts again frees what its former start held, and nothing else.
pub async fn the_jobs_of_dead_workers_are_freed_before_their_leases_end(store: Store) {
    submit_all(&store, ["one", "two"].map(request)).await;
    let dead = claim_by(&store, claw_core::WorkerId::new("host", "former", 3), 0).await.expect("due");
    let alive = claim_by(&store, claw_core::WorkerId::new("host", "present", 3), 0).await.expect("due");

    let lapsed = store.jobs.lapse(&["host-former-".into()], MAX_RETRIES, at(1)).await.expect("works");

    assert_eq!(lapsed.iter().map(|lapsed| lapsed.job.id).collect::<Vec<_>>(), [dead.job.id]);
    assert_eq!(claim(&store, 1).await.map(|claimed| claimed.job.id), Some(dead.job.id));
    finish(&store, &alive, completed(), 2).await;
}

/// A cancel that the dead holder never saw is carried out.
pub async fn a_lapse_after_a_cancel_request_ends_the_job(store: Store) {
    let held = running(&store, 0).await;
    store.jobs.cancel(held.job.id, "alice".into(), at(1)).await.expect("it runs");

    let lapsed = store.jobs.lapse(&[], MAX_RETRIES, at(LEASE_SECS)).await.expect("works");

    assert_eq!(lapsed.len(), 1);
    assert_eq!(lapsed[0].job.status(), JobStatus::Cancelled);
    assert_eq!(claim(&store, LEASE_SECS).await, None);
}

/// `not_before` is kept to the second, and `next_due` names it.
pub async fn a_job_that_backs_off_is_claimed_when_it_is_due(store: Store) {
    let held = running(&store, 0).await;
    assert_eq!(finish(&store, &held, failed(Some(20)), 1).await.status(), JobStatus::Pending);

    assert_eq!(claim(&store, 19).await, None);
    assert_eq!(store.jobs.next_due(at(19)).await.expect("readable"), Some(at(20)));
    assert_eq!(claim_all(&store, 20).await, [held.job.id]);
}

/// A job given back unharmed has lost nothing; one that failed waits behind the others of its priority.
pub async fn a_released_job_keeps_its_turn_and_a_retry_goes_to_the_end(store: Store) {
    let ids = submit_all(&store, ["one", "two", "three"].map(request)).await;
    let released = claim(&store, 0).await.expect("due");
    let retried = claim(&store, 0).await.expect("due");

    let job = finish(&store, &released, JobOutcome::Released, 1).await;
    finish(&store, &retried, failed(Some(1)), 1).await;

    assert_eq!(job.retry_count, 0, "giving back is no failure");
    assert_eq!(claim_all(&store, 1).await, [ids[0], ids[2], ids[1]]);
}

/// A worker that has nothing to do learns when to look again.
pub async fn next_due_tells_the_end_of_the_next_lease(store: Store) {
    assert_eq!(store.jobs.next_due(at(0)).await.expect("readable"), None);
    let later = running(&store, 10).await;
    running(&store, 5).await;

    assert_eq!(store.jobs.next_due(at(11)).await.expect("readable"), Some(at(5 + LEASE_SECS)));
    finish(&store, &later, completed(), 12).await;
    claim_all(&store, 5 + LEASE_SECS).await;
    assert_eq!(store.jobs.next_due(at(40)).await.expect("readable"), Some(at(5 + 2 * LEASE_SECS)));
}

/// Whatever happens to many jobs, each claim hands out what a queue would that looks at every job.
pub async fn random_lives_match_a_naive_queue(store: Store) {
    for seed in 1..=3 {
        model::compare(&store, seed, 250).await;
    }
}
