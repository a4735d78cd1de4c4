//! Budgets, daily limits and what was spent. The model's turns go through the real gateway, which counts them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_core::{
    Actor, Coded, ErrorCode, FailureKind, JobId, JobSource, JobSpec, JobState, JobStatus, ModelUse,
    Principal, Role, Scope, TokenUsage, Usd,
};
use claw_gate::NewKey;
use claw_jobs::SettingEntry;
use claw_store::{Charge, SpendingFilter, SpendingGroup, day_of};
use claw_testkit::wait_until;
use tokio::sync::Semaphore;

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, agent, assert_status, now, usd},
};

fn spec() -> JobSpec {
    JobSpec::new("think", JobSource::Api)
}

/// A job that may cost less than a single turn does.
fn poor() -> JobSpec {
    JobSpec { max_budget_usd: Some(0.000_001), ..spec() }
}

/// Has an owner spend an amount today.
async fn spend(house: &House, owner: &str, dollars: f64) {
    let used = ModelUse {
        model: "claude-test".into(),
        tokens: TokenUsage { input: 10, output: 5, ..TokenUsage::default() },
        turns: 1,
        cost: usd(dollars),
    };
    let charge = Charge { job: JobId::new(), owner: owner.into(), workspace: None, used };
    house.store.jobs.charge(charge, house.clock.now()).await.expect("charged");
}

async fn spent(house: &House, id: JobId) -> Usd {
    let job = house.job(id).await;
    house.store.jobs.spent(Some(id), &job.owner, house.clock.now()).await.expect("an amount").job
}

fn today(group: SpendingGroup) -> SpendingFilter {
    let day = day_of(now());
    SpendingFilter { from: day, to: day, owner: None, group }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_the_budget_is_one_for_all_runs_of_a_job() {
    let house = House::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let worker = house
        .worker_in(FakeSandbox::new(move |agent| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                agent.ask_model().await;
                agent.api_error(500).await;
            }
        }))
        .await;

    let job = house.submit(&admin(), poor()).await.id;

    let ended = house.ended(job).await;
    let JobState::Failed { kind: FailureKind::Budget, error, .. } = &ended.state else {
        panic!("{:?}", ended.state)
    };
    assert!(error.starts_with("the job's budget of $0.000001"), "{error}");
    assert_eq!((runs.load(Ordering::SeqCst), house.model.message_requests().len()), (1, 1));
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_no_second_turn_begins_once_the_budget_is_used_up() {
    let house = House::new().await;
    let worker = house
        .worker_in(FakeSandbox::new(|agent| async move {
            loop {
                let (status, _) = agent.ask_model().await;
                if status != 200 {
                    return agent.api_error(status).await;
                }
            }
        }))
        .await;

    let job = house.submit(&admin(), poor()).await.id;

    let ended = house.ended(job).await;
    assert!(
        matches!(&ended.state, JobState::Failed { kind: FailureKind::Budget, error, .. }
        if error.contains("the job's budget of")),
        "{:?}",
        ended.state
    );
    assert_eq!(house.model.message_requests().len(), 1);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_what_a_run_cost_is_kept_however_it_ends() {
    let house = House::new().await;
    let worker = house
        .worker_in(FakeSandbox::new(|agent| async move {
            agent.ask_model().await;
            if agent.prompt.contains("fail") {
                return agent.api_error(400).await;
            }
            if agent.prompt.contains("end well") {
                return agent.done("done").await;
            }
            std::future::pending().await
        }))
        .await;
    let prompt = |text: &str| JobSpec { prompt: text.into(), ..spec() };

    let well = house.submit(&admin(), prompt("end well")).await.id;
    let failed = house.submit(&admin(), prompt("fail")).await.id;
    let timed_out = house.submit(&admin(), JobSpec { timeout_secs: Some(1), ..prompt("hang") }).await.id;
    let cancelled = house.submit(&admin(), prompt("hang")).await.id;
    for job in [well, failed, timed_out] {
        house.ended(job).await;
    }
    let charged = async || spent(&house, cancelled).await > Usd::ZERO;
    wait_until("the turn is charged", Duration::from_secs(30), charged).await;
    house.jobs.cancel(&admin(), cancelled).await.expect("asked");
    house.ended(cancelled).await;
    let released = house.submit(&admin(), prompt("hang")).await.id;
    let charged = async || spent(&house, released).await > Usd::ZERO;
    wait_until("the turn is charged", Duration::from_secs(30), charged).await;
    worker.shutdown().await;

    let mut costs = Vec::new();
    for (id, status) in [
        (well, JobStatus::Completed),
        (failed, JobStatus::Failed),
        (timed_out, JobStatus::Failed),
        (cancelled, JobStatus::Cancelled),
        (released, JobStatus::Pending),
    ] {
        let job = house.job(id).await;
        assert_status(&job, status);
        // Not the 99 dollars that the agent itself says.
        assert_eq!(job.usage.cost_usd.and_then(Usd::from_dollars), Some(spent(&house, id).await));
        costs.push(spent(&house, id).await);
    }
    assert!(costs.iter().all(|cost| *cost == costs[0] && *cost > Usd::ZERO), "{costs:?}");
    let rows = house.spending.spending(&admin(), today(SpendingGroup::Day)).await.expect("rows");
    assert_eq!((rows[0].cost, rows[0].turns), (costs.iter().copied().sum(), 5));
}

#[tokio::test]
async fn the_installations_limit_stops_claims_says_so_and_a_change_of_it_wakes_them() {
    let house = House::with(Options { max_cost_per_day: Some(10.0), ..Options::default() }).await;
    spend(&house, "key:someone", 10.0).await;
    let worker = house.worker_in(FakeSandbox::idle()).await;
    let job = house.submit(&admin(), spec()).await;

    let told = async || house.state.why_waits(&job, now()).is_some();
    wait_until("the reason is told", Duration::from_secs(10), told).await;
    let wait = house.state.why_waits(&job, now()).expect("it waits");
    assert!(
        wait.reason.starts_with("the installation's limit of $10.00 a day is used up"),
        "{}",
        wait.reason
    );
    assert_eq!(wait.until.map(|until| until.as_second() % 86_400), Some(0));
    assert_eq!(house.state.snapshot().waiting_because, Some(wait.reason));
    assert_eq!(house.job(job.id).await.lease_count, 0);

    let raise = SettingEntry { key: "max_cost_per_day_usd".into(), value: "10.01".into() };
    house.settings.set(&admin(), vec![raise]).await.expect("raised");

    assert_status(&house.ended(job.id).await, JobStatus::Completed);
    assert_eq!(house.state.snapshot().waiting_because, None);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_keys_limit_holds_its_own_jobs_and_no_others() {
    let house = House::new().await;
    let new = NewKey {
        label: "spender".into(),
        scopes: [Scope::JobsWrite].into(),
        role: Role::Agent,
        max_usd_per_day: None,
        expires_at: None,
    };
    let (_, meta) = house.gate.create_key(&Actor::system(), new).await.expect("a key");
    let capped = Actor::new(Principal::Key(meta.id.clone()), "spender", [Scope::JobsWrite]);
    house.cap_key(&meta.id, 2.0).await;
    spend(&house, &capped.owner(), 2.0).await;
    let held = house.submit(&capped, spec()).await;
    let free = house.submit(&agent("other"), spec()).await;
    let worker = house.worker_in(FakeSandbox::idle()).await;

    assert_status(&house.ended(free.id).await, JobStatus::Completed);
    let wait = house.state.why_waits(&held, now()).expect("it waits");
    assert!(wait.reason.starts_with("the key's limit of $2.00 a day is used up"), "{}", wait.reason);
    assert_eq!(house.state.snapshot().waiting_because, None, "the worker itself waits for nothing");
    assert_eq!(house.job(held.id).await.lease_count, 0);

    house.cap_key(&meta.id, 3.0).await;
    house.store.signals.publish(claw_store::Topic::JobsWaiting);

    assert_status(&house.ended(held.id).await, JobStatus::Completed);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_limit_that_is_used_up_during_a_run_ends_it_and_says_which_it_was() {
    let house = House::with(Options { max_cost_per_day: Some(10.0), ..Options::default() }).await;
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (began, held) = (Arc::clone(&begun), Arc::clone(&gate));
    let worker = house
        .worker_in(FakeSandbox::new(move |agent| {
            let held = Arc::clone(&held);
            began.add_permits(1);
            async move {
                held.acquire().await.expect("open").forget();
                let (status, _) = agent.ask_model().await;
                agent.api_error(status).await;
            }
        }))
        .await;
    let job = house.submit(&admin(), spec()).await.id;
    // A job that is claimed but not yet with its agent would go back to wait for the next day.
    begun.acquire().await.expect("open").forget();

    spend(&house, "key:someone", 11.0).await;
    gate.add_permits(1);

    let ended = house.ended(job).await;
    assert!(
        matches!(&ended.state, JobState::Failed { kind: FailureKind::Budget, error, .. }
        if error.contains("the installation's limit for today (UTC) of $10.00")),
        "{:?}",
        ended.state
    );
    assert!(house.model.message_requests().is_empty());
    worker.shutdown().await;
}

/// Notes an agent that was ended before its question was answered, as one whose lease cannot be renewed is.
struct EndsWithoutAnswer(Arc<AtomicUsize>);

impl Drop for EndsWithoutAnswer {
    fn drop(&mut self) {
        // An answer that came stays.
        let _ = self.0.compare_exchange(0, usize::MAX, Ordering::SeqCst, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_nothing_is_spent() {
    let mut house = House::new().await;
    let (gate, status) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let asking = Arc::new(Semaphore::new(0));
    let (held, seen, began) = (Arc::clone(&gate), Arc::clone(&status), Arc::clone(&asking));
    let worker = house
        .worker_in(FakeSandbox::new(move |agent| {
            let (held, seen, began) = (Arc::clone(&held), Arc::clone(&seen), Arc::clone(&began));
            async move {
                let seen = EndsWithoutAnswer(seen);
                began.add_permits(1);
                held.acquire().await.expect("open").forget();
                seen.0.store(usize::from(agent.ask_model().await.0), Ordering::SeqCst);
                std::future::pending().await
            }
        }))
        .await;
    house.submit(&admin(), spec()).await;
    // A job is `Running` from its claim on, and a worker that loses the store then may never start the agent.
    tokio::time::timeout(Duration::from_secs(30), asking.acquire())
        .await
        .expect("the agent began")
        .expect("open")
        .forget();

    house.cut_store().await;
    gate.add_permits(1);

    let answered = async || status.load(Ordering::SeqCst) != 0;
    wait_until("the gateway has answered, or the run has ended", Duration::from_secs(30), answered).await;
    assert_ne!(status.load(Ordering::SeqCst), 200);
    assert!(house.model.message_requests().is_empty(), "what cannot be counted is not spent");
    worker.shutdown().await;
}

#[tokio::test]
async fn s20_spending_is_seen_whole_by_administrators_and_by_others_as_far_as_it_is_theirs() {
    let house = House::new().await;
    spend(&house, "key:alice", 1.0).await;
    spend(&house, "key:bob", 2.0).await;
    let other_owner = SpendingFilter { owner: Some("key:bob".into()), ..today(SpendingGroup::Owner) };

    let all = house.spending.spending(&admin(), today(SpendingGroup::Owner)).await.expect("rows");
    let own = house.spending.spending(&agent("alice"), other_owner).await.expect("rows");
    let blind = Actor::new(Principal::Key("w".into()), "w", [Scope::JobsWrite]);
    let refused = house.spending.spending(&blind, today(SpendingGroup::Day)).await.expect_err("refused");
    let day = day_of(now());
    let backwards = SpendingFilter { from: day.tomorrow().expect("a day"), ..today(SpendingGroup::Day) };
    let wrong = house.spending.spending(&admin(), backwards).await.expect_err("refused");

    let keys = |rows: &[claw_store::SpendingRow]| -> Vec<_> {
        rows.iter().map(|row| (row.key.clone(), row.cost)).collect()
    };
    assert_eq!(keys(&all), [("key:bob".to_owned(), usd(2.0)), ("key:alice".to_owned(), usd(1.0))]);
    assert_eq!(keys(&own), [("key:alice".to_owned(), usd(1.0))]);
    assert_eq!((refused.code(), wrong.code()), (ErrorCode::ScopeRequired, ErrorCode::InvalidRequest));
}
