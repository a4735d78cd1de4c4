//! The worker dies by SIGKILL, again and again, at every point there is and between them. Whatever it was doing: no job
//! is lost, every job ends once, and what it did is done once.
//!
//! A child process is this very test program, running [`the_child_runs_a_batch_until_it_is_killed`] over a real store
//! and real repositories. Its agents are functions that spend money, change files and tell. The parent starts it until
//! the batch is done and then looks at what came of it.
//!
//! `CLAW_CRASH_RUNS` sets how many kills there are, `CLAW_CRASH_SEED` which ones.

use std::{
    collections::HashMap,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claw_agent::sandbox::Sandbox;
use claw_core::{Job, JobEvent, JobId, JobSource, JobSpec, JobStatus, Persistence, Usd, WorkspaceId};
use claw_jobs::NewJob;
use claw_store::{SpendingFilter, SpendingGroup, StreamName, day_of};
use claw_testkit::{FakeApi, TempDir};
use jiff::ToSpan;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    fake_sandbox::{Agent, FakeSandbox},
    setting::{House, Options, admin, new_workspace, now},
};

/// Kills of an ordinary run of the suite.
const KILLS: u64 = 500;

/// Children at the same time.
const LANES: u64 = 3;

/// Workspaces of a batch. Jobs of one exclude each other.
const WORKSPACES: usize = 2;

/// Jobs of a batch.
const JOBS: usize = 6;

/// Points that a child passes on its way, roughly, if nobody kills it.
const POINTS: u64 = 450;

/// The longest time after its start at which a child is killed between the points.
const LONGEST_LIFE: Duration = Duration::from_millis(250);

const TEST: &str = "crash::the_child_runs_a_batch_until_it_is_killed";
const FOLDER: &str = "CLAW_CRASH_FOLDER";
const MODEL: &str = "CLAW_CRASH_MODEL";

#[test]
fn r5_r6_a_worker_that_is_killed_at_any_point_loses_no_job_and_doubles_no_effect() {
    let kills = number("CLAW_CRASH_RUNS").unwrap_or(KILLS);
    let seed = number("CLAW_CRASH_SEED").unwrap_or_else(rand::random);
    // Shown when the test fails.
    println!("CLAW_CRASH_SEED={seed}");
    let killed = Arc::new(AtomicU64::new(0));
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let killed = Arc::clone(&killed);
            std::thread::spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed.wrapping_add(lane));
                while killed.load(Ordering::SeqCst) < kills {
                    batch(&mut random, &killed);
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.join().expect("every batch ends as it should");
    }
}

/// One batch of jobs, from submit to end, through any number of deaths.
fn batch(random: &mut SmallRng, killed: &AtomicU64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = TempDir::new();
    let model = runtime.block_on(FakeApi::start());
    let workspaces = runtime.block_on(async {
        let house = in_folder(folder.path()).await;
        let mut workspaces = Vec::new();
        for number in 0..WORKSPACES {
            let new = new_workspace(&format!("w{number}"), Persistence::Persistent);
            workspaces.push(house.workspaces.create(&admin(), new).await.expect("made").id);
        }
        house.close().await;
        workspaces
    });

    while !child(folder.path(), model.base_url(), random) {
        killed.fetch_add(1, Ordering::SeqCst);
    }

    runtime.block_on(async {
        let house = in_folder(folder.path()).await;
        check(&house, &workspaces, model.message_requests().len()).await;
        house.close().await;
    });
}

/// Lets a child live until it is killed or done, and tells whether it was done.
fn child(folder: &Path, model: &str, random: &mut SmallRng) -> bool {
    let at_a_point = random.random_bool(0.75);
    #[expect(clippy::disallowed_methods, reason = "this very program, to be killed")]
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args([TEST, "--exact", "--nocapture", "--test-threads=1"]);
    // A killed child removes no temporary folder of its own.
    command.env("TMPDIR", folder);
    command.env(FOLDER, folder).env(MODEL, model).stdout(Stdio::null()).stderr(Stdio::piped());
    if at_a_point {
        command.env("CLAW_FAULT", format!("any:{}", random.random_range(1..=POINTS)));
    }
    let mut child = command.spawn().expect("a child");
    if !at_a_point {
        let life = LONGEST_LIFE.mul_f64(random.random());
        // The one place where time passes on purpose: the kill is to come at any moment.
        std::thread::sleep(life);
        child.kill().expect("SIGKILL");
    }
    let output = child.wait_with_output().expect("it ended");
    if output.status.success() {
        return true;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "the child failed by itself: {text}");
    false
}

async fn in_folder(folder: &Path) -> House {
    House::with(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).await
}

/// Looks at what a batch came to.
async fn check(house: &House, workspaces: &[WorkspaceId], asked_model: usize) {
    let filter = claw_store::JobFilter { limit: 1000, ..Default::default() };
    let jobs = house.store.jobs.list(filter).await.expect("a list").items;
    assert_eq!(jobs.len(), JOBS, "each was submitted once, however often the child tried");

    let mut ends: HashMap<JobId, u32> = HashMap::new();
    for record in house.store.streams.read(&StreamName::job_events(), 0, 100_000).await.expect("events") {
        let event: JobEvent = serde_json::from_slice(&record.data).expect("an event");
        if event.status.is_terminal() {
            *ends.entry(event.job_id).or_default() += 1;
        }
    }
    let mut costs = Usd::ZERO;
    for job in &jobs {
        assert_eq!(job.status(), JobStatus::Completed, "{:?}", job.state);
        assert_eq!(ends.get(&job.id), Some(&1), "job {} ended more than once, or nobody heard", job.id);
        house.jobs.result(&admin(), job.id).await.expect("a result");
        let spent = house.store.jobs.spent(Some(job.id), &job.owner, now()).await.expect("an amount").job;
        assert!(spent > Usd::ZERO, "job {} completed and cost nothing", job.id);
        assert_eq!(job.usage.cost_usd.and_then(Usd::from_dollars), Some(spent));
        costs = costs.saturating_add(spent);
    }
    check_costs(house, costs, &jobs, asked_model).await;
    for workspace in workspaces {
        check_workspace(house, *workspace, &jobs).await;
    }
    assert_eq!(house.files.leftover_jobs().await.expect("a list"), [], "working copies are left");
    let verified = house.gate.audit_verify(&admin()).await.expect("the trail is read");
    assert_eq!(verified.broken_at, None, "{verified:?}");
}

/// The sum of the jobs is the sum of the days, and each turn was paid once at the most.
async fn check_costs(house: &House, costs: Usd, jobs: &[Job], asked_model: usize) {
    let today = day_of(now());
    let from = today.checked_sub(1.day()).expect("yesterday");
    let filter = SpendingFilter { from, to: today, owner: None, group: SpendingGroup::Model };
    let rows = house.spending.spending(&admin(), filter).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.cost).sum::<Usd>(), costs);
    let turns: u64 = rows.iter().map(|row| row.turns).sum();
    assert!(
        turns >= jobs.len() as u64 && turns <= asked_model as u64,
        "{turns} turns, {asked_model} requests"
    );
}

/// Each job's line is there once, in one commit.
async fn check_workspace(house: &House, workspace: WorkspaceId, jobs: &[Job]) {
    let of_this: Vec<_> = jobs.iter().filter(|job| job.spec.workspace_id == Some(workspace)).collect();
    let path = "counter.txt".parse().expect("a path");
    let counter = house.workspaces.read_file(&admin(), workspace, &path).await.expect("the counter");
    let counter = String::from_utf8(counter).expect("text");
    let mut lines: Vec<_> = counter.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = of_this.iter().map(|job| job.id.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected, "each job counts once");
    let history = house.workspaces.history(&admin(), workspace, 0, 1000).await.expect("a history");
    for job in of_this {
        let commits = history.iter().filter(|commit| commit.job == Some(job.id)).count();
        assert_eq!(commits, 1, "job {} is in the history {commits} times", job.id);
    }
}

/// Not a test of its own: the part of the child in the test above. Alone, it runs its batch once, unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_runs_a_batch_until_it_is_killed() {
    let own = TempDir::new();
    let model = FakeApi::start().await;
    let folder = text(FOLDER).map_or_else(|| own.path().to_owned(), PathBuf::from);
    let mut house = in_folder(&folder).await;
    if let Some(url) = text(MODEL) {
        house.model_url = url;
    } else {
        house.model_url = model.base_url().to_owned();
        for number in 0..WORKSPACES {
            let new = new_workspace(&format!("w{number}"), Persistence::Persistent);
            house.workspaces.create(&admin(), new).await.expect("made");
        }
    }
    let (workspaces, _) = house.workspaces.list(&admin(), 0, 10).await.expect("workspaces");
    let sandbox: Arc<dyn Sandbox> = FakeSandbox::new(agent);
    let worker = house
        .start(sandbox, |config| {
            config.capacity = 3;
            // Each death is one; the batch is to go through all of them.
            config.retry.max_retries = 1_000_000;
        })
        .await;

    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let spec = JobSpec {
            workspace_id: Some(workspaces[number % WORKSPACES].id),
            ..JobSpec::new("count yourself", JobSource::Api)
        };
        let new = NewJob { spec, idempotency_key: Some(format!("job-{number}")) };
        jobs.push(house.jobs.submit(&admin(), new).await.expect("submitted").job.id);
    }
    for job in jobs {
        house.ended(job).await;
    }
    worker.shutdown().await;
    house.close().await;
}

/// Spends money, changes files, and tells.
async fn agent(agent: Agent) {
    agent.say(r#"{"type":"system","subtype":"init","session_id":"session","model":"m","tools":[]}"#).await;
    let (status, answer) = agent.ask_model().await;
    if status != 200 || !answer.contains("message_stop") {
        return agent.api_error(status).await;
    }
    agent.append("counter.txt", &agent.job.to_string());
    std::fs::write(agent.work_dir.join(format!("{}.txt", agent.job)), "mine\n").expect("written");
    agent.done("counted").await;
}

#[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    text(name).map(|text| text.parse().expect("a number"))
}
