//! Charges and sums, and which ended jobs are old.

use claw_core::{JobId, ModelUse, RunUsage, TokenUsage, Usd, WorkspaceId};

use super::setting::*;
use crate::{
    Charge, ClaimRequest, EndedRule, SpendingFilter, SpendingGroup, SpendingRow, Store, StoreError,
    StreamName, day_of,
};

fn dollars(amount: f64) -> Usd {
    Usd::from_dollars(amount).expect("an amount")
}

fn charge(job: JobId, owner: &str, model: &str, amount: f64) -> Charge {
    let tokens = TokenUsage { input: 100, output: 20, ..TokenUsage::default() };
    let used = ModelUse { model: model.into(), tokens, turns: 1, cost: dollars(amount) };
    Charge { job, owner: owner.into(), workspace: None, used }
}

async fn rows(store: &Store, group: SpendingGroup, owner: Option<&str>) -> Vec<SpendingRow> {
    let (from, to) = (day_of(at(0)), day_of(at(86_400)));
    let filter = SpendingFilter { from, to, owner: owner.map(str::to_owned), group };
    store.jobs.spending(filter).await.expect("summed up")
}

/// Every charge counts once: for its job, its owner's day and everyone's.
pub async fn r9_a_charge_counts_for_the_job_and_the_day(store: Store) {
    let claimed = running(&store, 0).await;
    let id = claimed.job.id;
    let spent = store.jobs.charge(charge(id, "alice", "big", 0.25), at(1)).await.expect("charged");
    assert_eq!((spent.job, spent.owner_today), (dollars(0.25), dollars(0.25)));
    store.jobs.charge(charge(id, "alice", "small", 0.125), at(2)).await.expect("charged");
    store.jobs.charge(charge(JobId::new(), "bob", "small", 1.0), at(2)).await.expect("charged");

    let spent = store.jobs.spent(Some(id), "alice", at(3)).await.expect("known");
    assert_eq!(
        (spent.job, spent.owner_today, spent.installation_today),
        (dollars(0.375), dollars(0.375), dollars(1.375))
    );
    let tomorrow = store.jobs.spent(Some(id), "alice", at(86_400)).await.expect("known");
    assert_eq!((tomorrow.job, tomorrow.owner_today), (dollars(0.375), Usd::ZERO));

    let usage = RunUsage { cost_usd: None, duration_ms: 10 };
    let finished = store.jobs.finish(id, claimed.token, failed(None), usage, at(4)).await.expect("finished");
    assert_eq!(finished.usage.cost_usd, Some(0.375), "what a failed run cost is kept");
}

/// A hundred thousand small charges are exact.
pub async fn sums_do_not_drift(store: Store) {
    let id = submit(&store, request("x")).await.id;
    for _ in 0..300 {
        store.jobs.charge(charge(id, "alice", "m", 0.000_000_1), at(0)).await.expect("charged");
    }

    let spent = store.jobs.spent(Some(id), "alice", at(0)).await.expect("known");

    assert_eq!((spent.job.nanos(), spent.owner_today.nanos()), (30_000, 30_000));
}

/// Sums by day, model, owner and workspace add up to the same.
pub async fn spending_is_summed_up_by_what_is_asked(store: Store) {
    let workspace = WorkspaceId::new();
    let mut first = charge(JobId::new(), "alice", "big", 2.0);
    first.workspace = Some(workspace);
    store.jobs.charge(first, at(0)).await.expect("charged");
    store.jobs.charge(charge(JobId::new(), "alice", "small", 1.0), at(86_400)).await.expect("charged");
    store.jobs.charge(charge(JobId::new(), "bob", "small", 0.5), at(0)).await.expect("charged");

    let by_model = rows(&store, SpendingGroup::Model, None).await;
    let seen: Vec<_> = by_model.iter().map(|row| (row.key.as_str(), row.turns, row.cost)).collect();
    assert_eq!(seen, [("big", 1, dollars(2.0)), ("small", 2, dollars(1.5))]);
    assert_eq!(by_model[1].tokens.output, 40);
    let by_owner = rows(&store, SpendingGroup::Owner, None).await;
    assert_eq!(by_owner.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    let by_workspace = rows(&store, SpendingGroup::Workspace, Some("alice")).await;
    assert_eq!(
        by_workspace.iter().map(|row| row.key.clone()).collect::<Vec<_>>(),
        [workspace.to_string(), String::new()]
    );
    let by_day = rows(&store, SpendingGroup::Day, None).await;
    assert_eq!(by_day[0].key, day_of(at(0)).to_string());
    for group in [SpendingGroup::Day, SpendingGroup::Workspace, SpendingGroup::Model, SpendingGroup::Owner] {
        let sum: Usd = rows(&store, group, None).await.iter().map(|row| row.cost).sum();
        assert_eq!(sum, dollars(3.5), "{group:?}");
    }
}

/// Runs are counted, and what nobody metered still costs.
pub async fn a_run_counts_once_with_what_was_not_charged(store: Store) {
    let claimed = running(&store, 0).await;
    store.jobs.charge(charge(claimed.job.id, "alice", "m", 1.0), at(0)).await.expect("charged");
    finish(&store, &claimed, completed(), 1).await;

    let rows = rows(&store, SpendingGroup::Owner, None).await;

    assert_eq!((rows[0].runs, rows[0].turns, rows[0].cost), (1, 1, dollars(1.25)));
    let job = store.jobs.get(claimed.job.id).await.expect("readable").expect("stored");
    assert_eq!(job.usage.cost_usd, Some(1.25));
}

/// What was spent outlives the job it was spent on.
pub async fn sums_outlive_deleted_jobs(store: Store) {
    let claimed = running(&store, 0).await;
    let id = claimed.job.id;
    store.jobs.charge(charge(id, "alice", "m", 1.0), at(0)).await.expect("charged");
    finish(&store, &claimed, completed(), 1).await;
    store.jobs.delete(id).await.expect("deleted");
    store.jobs.charge(charge(id, "alice", "m", 1.0), at(2)).await.expect("a late charge counts too");

    let spent = store.jobs.spent(Some(id), "alice", at(3)).await.expect("known");

    assert_eq!((spent.job, spent.owner_today), (Usd::ZERO, dollars(2.25)));
}

/// The jobs of some owners go on waiting while others are claimed.
pub async fn a_claim_passes_over_the_jobs_of_some_owners(store: Store) {
    let mut theirs = with_priority(request("theirs"), 9);
    theirs.owner = "bob".into();
    let theirs = submit(&store, theirs).await.id;
    let ours = submit(&store, request("ours")).await.id;
    let claim = async |skip_owners: &[&str]| {
        let skip_owners = skip_owners.iter().map(|owner| (*owner).to_owned()).collect();
        let request = ClaimRequest { worker: worker(0), lease_until: at(30), max_retries: 1, skip_owners };
        store.jobs.claim(request, at(0)).await.expect("claiming works").map(|claimed| claimed.job.id)
    };

    assert_eq!(claim(&["bob", "o'brien"]).await, Some(ours));
    assert_eq!(claim(&["bob"]).await, None);
    assert_eq!(claim(&[]).await, Some(theirs));
}

/// Ended jobs are old by age or by number, the oldest first; others never.
pub async fn p11_old_jobs_are_those_that_ended_long_ago_or_are_too_many(store: Store) {
    let mut ended = Vec::new();
    for second in 0..5 {
        let claimed = running(&store, second).await;
        finish(&store, &claimed, completed(), second).await;
        ended.push(claimed.job.id);
    }
    submit(&store, request("waits")).await;
    let old = async |before: Option<i64>, beyond_newest: Option<u64>, limit: u64| {
        let rule = EndedRule { before: before.map(at), beyond_newest };
        store.jobs.ended(rule, limit).await.expect("listed")
    };

    assert_eq!(old(None, None, 10).await, []);
    assert_eq!(old(Some(2), None, 10).await, ended[..2]);
    assert_eq!(old(None, Some(1), 10).await, ended[..4]);
    assert_eq!(old(Some(2), Some(2), 10).await, ended[..3], "the longer part counts");
    assert_eq!(old(Some(100), Some(0), 2).await, ended[..2]);
}

/// A long log goes whole, and a late line does not bring it back.
pub async fn a_deleted_jobs_log_does_not_come_back(store: Store) {
    let claimed = running(&store, 0).await;
    let log = StreamName::job_log(claimed.job.id);
    for _ in 0..5 {
        store.streams.append(&log, vec![b"line".to_vec(); 1_000], at(0)).await.expect("appended");
    }
    finish(&store, &claimed, completed(), 1).await;

    store.jobs.delete(claimed.job.id).await.expect("deleted");

    let late = store.streams.append(&log, vec![b"late".to_vec()], at(2)).await;
    assert!(matches!(late, Err(StoreError::JobNotFound(id)) if id == claimed.job.id));
    assert_eq!(store.streams.last_seq(&log).await.expect("readable"), 0);
    assert_eq!(store.streams.streams("log/", None, 10).await.expect("listed"), []);
}

/// The store knows its size and answers when asked how it is.
pub async fn a_store_tells_its_size_and_that_it_is_well(store: Store) {
    submit(&store, request("x")).await;

    let size = store.upkeep.size().await.expect("known");

    assert!(size.bytes + size.log_bytes > 0);
    store.upkeep.health().await.expect("well");
    store.upkeep.give_back(1 << 20).await.expect("nothing is in the way");
}
