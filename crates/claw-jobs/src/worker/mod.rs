//! The worker: claims jobs, runs them in the sandbox, keeps what they changed and reports how they ended.
//!
//! ```text
//! dispatch ── claim ──▶ execute ── run agent ── save outcome ── keep changes ── finish ── discard
//!                          └─ keeper: renews the lease, notices cancel requests and lost leases
//! recovery, at start: adopt saved outcomes, free the rest, sweep sandboxes, remove clones
//! ```
//!
//! A worker may die at any point. Up to the saved outcome the job is run again; from there on the next start
//! finishes what was begun. Either way the job ends with one result.

mod active;
mod changes;
mod dispatch;
mod execute;
mod keeper;
mod notes;
mod outcome;
mod recovery;
mod settle;
mod state;
mod warm;

use std::{path::PathBuf, sync::Arc, time::Duration};

use claw_agent::{gateway::Gateway, run::DiskWatch, sandbox::Sandbox};
use claw_core::{Clock, JobId, RetryPolicy, WorkerId};
use claw_gate::Gate;
use claw_store::Store;
use claw_workspace::Workspaces;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    DiskGuard, JobsError, Redactor, Settings,
    logs::{LogTask, LogWriter},
    purse::Purse,
};
use active::Active;
use warm::Busy;

pub(crate) use changes::is_unkept;
pub use state::{Wait, WorkerSnapshot, WorkerState};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Name of this installation's data; every worker id begins with it, so that a later start knows its own.
    pub instance: String,
    /// New at every start.
    pub boot: String,
    /// Jobs that run at the same time.
    pub capacity: usize,
    /// Folder for the private folders of runs; nothing else lives in it.
    pub run_root: PathBuf,
    /// Ends runs that fill the disk.
    pub run_disk: Option<DiskWatch>,
    /// How long a claim lasts without a sign of life.
    pub lease: Duration,
    /// When failed runs are tried again.
    pub retry: RetryPolicy,
    /// How long an orderly shutdown waits for running jobs before it gives them back.
    pub shutdown_grace: Duration,
}

/// Everything a worker works with. Each is a part of its own that the binary builds.
pub struct WorkerParts {
    /// Where jobs are.
    pub store: Store,
    /// Knows the daily limits of keys.
    pub gate: Gate,
    /// The workspaces' files.
    pub files: Workspaces,
    /// Where agents run.
    pub sandbox: Arc<dyn Sandbox>,
    /// How agents reach their model.
    pub gateway: Gateway,
    /// Limits of runs and jobs.
    pub settings: Settings,
    /// Holds new runs back while the disk is nearly full.
    pub disk: DiskGuard,
    /// Takes secrets out of what runs leave behind.
    pub redactor: Redactor,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How the worker works.
    pub config: WorkerConfig,
    /// Where the worker tells how things stand.
    pub state: WorkerState,
}

/// Claims jobs and runs them.
pub struct Worker {
    store: Store,
    files: Workspaces,
    sandbox: Arc<dyn Sandbox>,
    gateway: Gateway,
    settings: Settings,
    purse: Purse,
    disk: DiskGuard,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
    config: WorkerConfig,
    state: WorkerState,
    active: Active,
    busy: Busy,
}

/// A worker that runs.
pub struct WorkerHandle {
    stop: CancellationToken,
    stop_runs: CancellationToken,
    dispatcher: JoinHandle<()>,
    runs: TaskTracker,
    grace: Duration,
}

impl Worker {
    /// Wires a worker.
    pub fn new(parts: WorkerParts) -> Self {
        let WorkerParts {
            store,
            gate,
            files,
            sandbox,
            gateway,
            settings,
            disk,
            redactor,
            clock,
            config,
            state,
        } = parts;
        let purse = Purse::new(store.clone(), gate, settings.clone(), Arc::clone(&clock));
        let (active, busy) = (Active::default(), Busy::default());
        Self {
            store,
            files,
            sandbox,
            gateway,
            settings,
            purse,
            disk,
            redactor,
            clock,
            config,
            state,
            active,
            busy,
        }
    }

    /// Finishes what a former start left behind, then begins to claim jobs.
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not answer; nothing runs then.
    pub async fn start(self) -> Result<WorkerHandle, JobsError> {
        let worker = Arc::new(self);
        worker.recover().await?;
        let (stop, stop_runs, runs) =
            (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let dispatcher =
            tokio::spawn(Arc::clone(&worker).dispatch(stop.clone(), stop_runs.clone(), runs.clone()));
        Ok(WorkerHandle { stop, stop_runs, dispatcher, runs, grace: worker.config.shutdown_grace })
    }

    fn log_writer(&self, job: JobId) -> (LogWriter, LogTask) {
        LogWriter::start(&self.store, self.clock.clone(), self.redactor.clone(), job)
    }

    fn worker_id(&self, slot: usize) -> WorkerId {
        WorkerId::new(&self.config.instance, &self.config.boot, slot)
    }
}

impl WorkerHandle {
    /// Stops claiming, lets running jobs end for the configured grace, then ends their runs and gives the jobs
    /// back to the queue unharmed. Returns when nothing runs any more.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.dispatcher.await {
            tracing::error!(%error, "the dispatcher ended badly");
        }
        self.runs.close();
        if tokio::time::timeout(self.grace, self.runs.wait()).await.is_err() {
            tracing::info!(jobs = self.runs.len(), "giving running jobs back to the queue");
            self.stop_runs.cancel();
            self.runs.wait().await;
        }
    }

    /// Ends the grace of a shutdown that is under way, or of one that comes.
    pub fn hurry(&self) -> CancellationToken {
        self.stop_runs.clone()
    }
}
