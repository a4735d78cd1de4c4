//! A store with many jobs, as a year of use would leave it.

use std::path::Path;

use claw_core::{
    Clock as _, FailureKind, JobId, JobOutcome, JobResult, JobSource, JobSpec, OutputDest, Priority,
    RunUsage, SystemClock, WorkerId, WorkspaceId,
};
use claw_store::{
    ClaimRequest, Store, SubmitRequest,
    sqlite::{SqliteOptions, SqliteStore},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::Outcome;

/// The owner mark of the administrator's token.
pub(crate) const NOBODY_ELSE: &str = "token";

/// Jobs that are submitted before as many of them end.
const BLOCK: u64 = 1_000;

/// Of each block: those that end, and of these those that fail.
const ENDED: u64 = 700;
const FAILED_ONE_IN: u64 = 7;

/// Of each block: those that are cancelled while they wait.
const CANCELLED: u64 = 50;

/// Calls under way at once: enough that they share transactions.
const AT_ONCE: usize = 256;

/// What the jobs hold in common, so that a list can be narrowed by it.
#[derive(Clone, Debug)]
pub(crate) struct Seeded {
    /// A workspace with a quarter of the jobs.
    pub(crate) workspace: WorkspaceId,
}

/// Fills the store below `data_dir`. A third of the jobs belong to `owner`, the others to the administrator. No server
/// may use the folder meanwhile.
pub(crate) async fn jobs(data_dir: &Path, count: u64, owner: &str) -> Outcome<Seeded> {
    let database = SqliteStore::open(&data_dir.join("claw.db"), SqliteOptions::default())?;
    let store = database.store();
    let workspaces: Vec<WorkspaceId> = (0..4).map(|_| WorkspaceId::new()).collect();
    for block in 0..count.div_ceil(BLOCK) {
        let numbers = block * BLOCK..((block + 1) * BLOCK).min(count);
        let ids: Vec<JobId> = stream::iter(numbers.map(|number| submit(&store, number, owner, &workspaces)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        // Waiting jobs are cancelled by their id, the others are taken as they come.
        let share = |part: u64| (ids.len() as u64 * part / BLOCK) as usize;
        let cancelled = ids.iter().rev().take(share(CANCELLED));
        let cancel = |id: &JobId| store.jobs.cancel(*id, NOBODY_ELSE.to_owned(), SystemClock.now());
        stream::iter(cancelled.map(cancel)).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        stream::iter((0..share(ENDED) as u64).map(|number| end(&store, number)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
    }
    drop(store);
    database.close().await;
    Ok(Seeded { workspace: workspaces[0] })
}

async fn submit(store: &Store, number: u64, owner: &str, workspaces: &[WorkspaceId]) -> Outcome<JobId> {
    let dice = mixed(number);
    let roll = |shift: u32, sides: u64| (dice >> shift) % sides;
    let mut tags = vec![["nightly", "review", "docs"][roll(0, 3) as usize].to_owned()];
    if number % 2_000 == 77 {
        tags.push("rare".to_owned());
    }
    let subject = ["lobsters", "the harbor", "a lighthouse", "tides"][roll(8, 4) as usize];
    let rare = if number % 2_000 == 99 { " Mention the quokka." } else { "" };
    let prompt = format!(
        "Write a page about {subject} to pages/{number}.md, check its links, and say in one sentence what you did.{rare} \
         Keep to the style guide of this site: short sentences, no jargon, and a picture where it helps."
    );
    let sources = [JobSource::Api, JobSource::Cli, JobSource::Webhook];
    let spec = JobSpec {
        prompt,
        model: None,
        max_budget_usd: None,
        allowed_tools: None,
        tags,
        output_dest: OutputDest::Redis,
        source: sources[roll(16, 3) as usize],
        priority: Priority::from(roll(24, 10) as u8),
        timeout_secs: None,
        workspace_id: Some(workspaces[roll(32, workspaces.len() as u64) as usize]),
        working_dir: None,
    };
    let owner = if roll(40, 3) == 0 { owner } else { NOBODY_ELSE };
    let request = SubmitRequest {
        id: JobId::new(),
        owner: owner.to_owned(),
        spec,
        exclusive: false,
        idempotency_key: None,
    };
    Ok(store.jobs.submit(request, SystemClock.now()).await?.job.id)
}

/// Runs one job to its end.
async fn end(store: &Store, number: u64) -> Outcome<()> {
    let now = SystemClock.now();
    let request = ClaimRequest {
        worker: WorkerId::new("bench", "seed", 0),
        lease_until: now.checked_add(std::time::Duration::from_secs(3_600))?,
        max_retries: 3,
        skip_owners: Vec::new(),
    };
    let claimed = store.jobs.claim(request, now).await?.ok_or("no job waits")?;
    let outcome = if number.is_multiple_of(FAILED_ONE_IN) {
        JobOutcome::Failed {
            kind: FailureKind::Timeout,
            error: "it took too long".to_owned(),
            retry_at: None,
        }
    } else {
        let text = "I wrote the page and checked its links.".to_owned();
        JobOutcome::Completed { result: JobResult { text, ..JobResult::default() } }
    };
    let usage = RunUsage { cost_usd: Some(0.01), duration_ms: 12_345 };
    store.jobs.finish(claimed.job.id, claimed.token, outcome, usage, now).await?;
    Ok(())
}

/// A number that looks random and is the same each time (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
