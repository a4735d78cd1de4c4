//! Signals that engines send.

use claw_core::{JobId, WorkspaceId};
use futures_util::FutureExt;

use super::setting::*;
use crate::{SignalReceiver, Store, StreamName, Topic};

/// Tells whether a signal came, without waiting.
fn came(receiver: &mut SignalReceiver) -> bool {
    receiver.changed().now_or_never().is_some()
}

/// An idle worker hears of a new job, and a reader of its event.
pub async fn a_submit_wakes_who_waits_for_jobs(store: Store) {
    let topics = [Topic::JobsWaiting, Topic::JobEvents, Topic::Stream(StreamName::job_events())];
    let mut receivers = topics.clone().map(|topic| store.signals.subscribe(topic));

    submit(&store, request("x")).await;

    for (receiver, topic) in receivers.iter_mut().zip(topics) {
        soon(&format!("the signal {topic:?}"), receiver.changed()).await;
        assert!(!came(receiver), "{topic:?} came once");
    }
}

/// The holder hears that someone wants its job to end, and of no other job.
pub async fn a_cancel_wakes_the_holder(store: Store) {
    let held = running(&store, 0).await;
    let mut holder = store.signals.subscribe(Topic::Cancel(held.job.id));
    let mut other = store.signals.subscribe(Topic::Cancel(JobId::new()));

    store.jobs.cancel(held.job.id, "bob".into(), at(1)).await.expect("it runs");

    soon("the signal", holder.changed()).await;
    assert!(!came(&mut other));
}

/// Followers of one stream hear of it, and of no other.
pub async fn an_append_wakes_who_follows_the_stream(store: Store) {
    let (one, other) = (StreamName::stored("one"), StreamName::stored("other"));
    let mut follower = store.signals.subscribe(Topic::Stream(one.clone()));
    let mut stranger = store.signals.subscribe(Topic::Stream(other));

    store.streams.append(&one, vec![b"x".to_vec()], at(0)).await.expect("appended");

    soon("the signal", follower.changed()).await;
    assert!(!came(&mut stranger));
}

/// What did not happen is not told.
pub async fn a_refused_step_wakes_nobody(store: Store) {
    let held = running(&store, 0).await;
    let id = held.job.id;
    finish(&store, &held, completed(), 1).await;
    let topics = [Topic::JobsWaiting, Topic::JobEvents, Topic::Cancel(id)];
    let mut receivers = topics.map(|topic| store.signals.subscribe(topic));

    store.jobs.cancel(id, "bob".into(), at(2)).await.expect_err("it ended");
    store.jobs.finish(id, held.token, completed(), usage(), at(2)).await.expect_err("it ended");

    assert!(!receivers.iter_mut().any(came));
}

/// A job that waited for its workspace can be claimed now.
pub async fn the_end_of_an_exclusive_job_wakes_who_waits_for_jobs(store: Store) {
    let workspace = WorkspaceId::new();
    let ids = submit_all(&store, ["one", "two"].map(|prompt| exclusive(prompt, workspace))).await;
    let first = claim(&store, 0).await.expect("due");
    let mut idle = store.signals.subscribe(Topic::JobsWaiting);

    finish(&store, &first, completed(), 1).await;

    soon("the signal", idle.changed()).await;
    assert_eq!(claim_all(&store, 1).await, [ids[1]]);
}
