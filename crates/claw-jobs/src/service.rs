//! The use cases around jobs.

use std::sync::Arc;

use claw_core::{
    Action, Actor, Clock, Decision, Job, JobEvent, JobId, JobSpec, JobStatus, Resource, Usd, WorkspaceId,
    decide,
};
use claw_gate::{Deed, EffectPlace, Gate, GateError};
use claw_store::{
    JobCounts, JobFilter, JobPage, Record, Store, StoreError, StoredResult, StreamName, SubmitRequest,
    Submitted, tail,
};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tracing::Instrument;

use crate::{JobsError, LogItem, LogPage, WorkspaceService, gauges, spans, workspaces::not_theirs};

/// A job as someone asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// What to do.
    pub spec: JobSpec,
    /// A key of the caller's: a second submit with the same key returns the first job.
    pub idempotency_key: Option<String>,
}

/// A job event with its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Position in the stream, for resuming after it.
    pub seq: u64,
    /// The event.
    pub event: JobEvent,
}

/// Lines of a log page at the most.
const MAX_LOG_LINES: u64 = 10_000;

/// Submit, watch, cancel and delete jobs.
#[derive(Clone)]
pub struct JobService {
    store: Store,
    gate: Gate,
    workspaces: WorkspaceService,
    clock: Arc<dyn Clock>,
}

impl JobService {
    /// Wires the service.
    pub fn new(store: Store, gate: Gate, workspaces: WorkspaceService, clock: Arc<dyn Clock>) -> Self {
        Self { store, gate, workspaces, clock }
    }

    /// Stores a job. It survives a crash from the moment this returns.
    ///
    /// # Errors
    ///
    /// Refuses a spec that does not pass [`JobSpec::check`], one that may cost more than a job may here, a workspace
    /// that the caller does not own, and everything while the disk is nearly full.
    pub async fn submit(&self, actor: &Actor, new: NewJob) -> Result<Submitted, JobsError> {
        let id = JobId::new();
        let mut exclusive = false;
        if decide(actor, Action::JobsWrite, &Resource::Any) == Decision::Allow {
            self.workspaces.disk().check()?;
            new.spec.check()?;
            self.check_budget(&new.spec).await?;
            if let Some(workspace) = new.spec.workspace_id {
                exclusive = self.open_workspace(actor, id, workspace).await?;
            }
        }
        let request = SubmitRequest {
            id,
            owner: actor.owner(),
            spec: new.spec,
            exclusive,
            idempotency_key: new.idempotency_key,
        };
        let detail = request.spec.workspace_id.map(|workspace| json!({ "workspace": workspace.to_string() }));
        let deed = deed("job.submit", id, Resource::Any, detail);
        let submit = async {
            let submitted = self.store.jobs.submit(request, self.clock.now()).await?;
            Ok::<_, JobsError>(submitted)
        };
        let submitted = self.gate.perform(actor, deed, submit).instrument(spans::submit(id)).await?;
        if submitted.created {
            tracing::debug!(job.id = %submitted.job.id, owner = submitted.job.owner, "job submitted");
        }
        Ok(submitted)
    }

    /// Refuses a budget beyond the installation's ceiling.
    async fn check_budget(&self, spec: &JobSpec) -> Result<(), JobsError> {
        let Some(asked) = spec.max_budget_usd.and_then(Usd::from_dollars) else { return Ok(()) };
        match self.workspaces.settings().for_run().await?.budget_ceiling {
            Some(most) if asked > most => Err(JobsError::OverCeiling {
                what: "`max_budget_usd`",
                asked: asked.to_string(),
                most: most.to_string(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Tells whether jobs of the workspace exclude each other. A job changes the workspace's files, so submitting one
    /// into it takes the right to write it.
    async fn open_workspace(
        &self,
        actor: &Actor,
        job: JobId,
        workspace: WorkspaceId,
    ) -> Result<bool, JobsError> {
        let action = Action::WorkspacesWrite;
        let resource = self.workspaces.resource(actor, action, workspace).await?;
        if decide(actor, action, &resource) != Decision::Allow {
            // Asked of the gate for the sake of the audit trail.
            let detail = Some(json!({ "workspace": workspace.to_string() }));
            let deed = Deed { action, ..deed("job.submit", job, resource, detail) };
            let nothing = async { Err::<(), _>(JobsError::WorkspaceNotFound(workspace)) };
            self.gate.perform(actor, deed, nothing).await.map_err(|error| not_theirs(workspace, error))?;
        }
        Ok(self.workspaces.permitted(actor, action, workspace).await?.persistence.is_exclusive())
    }

    /// Returns a page of the jobs that the caller may see.
    pub async fn list(&self, actor: &Actor, mut filter: JobFilter) -> Result<JobPage, JobsError> {
        self.gate.permit(actor, Action::JobsRead, &Resource::Any)?;
        if let Some(owner) = actor.sees_only() {
            filter.owner = Some(owner);
        }
        Ok(self.store.jobs.list(filter).await?)
    }

    /// Returns one job.
    pub async fn get(&self, actor: &Actor, id: JobId) -> Result<Job, JobsError> {
        self.permitted(actor, Action::JobsRead, id).await
    }

    /// Returns a job's result.
    ///
    /// # Errors
    ///
    /// [`JobsError::NoResult`] for a job that did not complete.
    pub async fn result(&self, actor: &Actor, id: JobId) -> Result<(Job, StoredResult), JobsError> {
        let job = self.permitted(actor, Action::JobsRead, id).await?;
        match self.store.jobs.result(id).await? {
            Some(result) => Ok((job, result)),
            None => Err(JobsError::NoResult { id, status: job.status().as_str() }),
        }
    }

    /// Returns lines of a job's log. A `limit` of 0 means as many as one page may hold.
    pub async fn logs(
        &self,
        actor: &Actor,
        id: JobId,
        offset: u64,
        limit: u64,
    ) -> Result<LogPage, JobsError> {
        self.permitted(actor, Action::JobsRead, id).await?;
        let stream = StreamName::job_log(id);
        let limit = if limit == 0 { MAX_LOG_LINES } else { limit.min(MAX_LOG_LINES) };
        let records = self.store.streams.read(&stream, offset, limit).await?;
        let total = self.store.streams.last_seq(&stream).await?;
        Ok(LogPage { lines: records.iter().map(text).collect(), total, offset })
    }

    /// Follows a job's log from after line `after` to its end.
    pub async fn follow_logs(
        &self,
        actor: &Actor,
        id: JobId,
        after: u64,
    ) -> Result<impl Stream<Item = Result<LogItem, JobsError>> + Send + use<>, JobsError> {
        self.permitted(actor, Action::JobsRead, id).await?;
        let store = self.store.clone();
        let events_from = store.streams.last_seq(&StreamName::job_events()).await?;
        let lines =
            tail(Arc::clone(&store.streams), Arc::clone(&store.signals), StreamName::job_log(id), after);
        let events = tail(
            Arc::clone(&store.streams),
            Arc::clone(&store.signals),
            StreamName::job_events(),
            events_from,
        )
        .filter_map(move |record| std::future::ready(about(id, record)));
        let (lines, events): (LineStream, EndStream) = (Box::pin(lines), Box::pin(events));
        let follow = Follow { store, id, sent: after, look: true, last_line: None, lines, events };
        Ok(futures_util::stream::unfold(Some(follow), |follow| async move {
            let mut follow = follow?;
            match follow.next().await {
                Ok(item @ LogItem::Line { .. }) => Some((Ok(item), Some(follow))),
                Ok(end @ LogItem::End { .. }) => Some((Ok(end), None)),
                Err(error) => Some((Err(error.into()), None)),
            }
        }))
    }

    /// Cancels a waiting job at once; asks the worker of a running one to end it.
    ///
    /// # Errors
    ///
    /// A job that has ended is in the wrong state.
    pub async fn cancel(&self, actor: &Actor, id: JobId) -> Result<Job, JobsError> {
        let cancel = async { Ok(self.store.jobs.cancel(id, actor.owner(), self.clock.now()).await?) };
        let job = self.perform(actor, "job.cancel", id, cancel).await?;
        tracing::info!(job.id = %id, by = actor.owner(), "cancel requested");
        if job.status().is_terminal() {
            gauges::job_finished(&job);
        }
        Ok(job)
    }

    /// Deletes an ended job with its log and result.
    ///
    /// # Errors
    ///
    /// A job that waits or runs is in the wrong state.
    pub async fn delete(&self, actor: &Actor, id: JobId) -> Result<(), JobsError> {
        let delete = async {
            self.store.jobs.delete(id).await?;
            // Work that could not be kept in its workspace goes with its job.
            Ok(self.workspaces.repositories().discard(id).await?)
        };
        self.perform(actor, "job.delete", id, delete).await
    }

    /// Returns the position of the newest job event, for following from now on.
    pub async fn newest_event(&self, actor: &Actor) -> Result<u64, JobsError> {
        self.gate.permit(actor, Action::JobsRead, &Resource::Any)?;
        Ok(self.store.streams.last_seq(&StreamName::job_events()).await?)
    }

    /// Follows the changes of the jobs that the caller may see: from after event `after`, or from now on.
    pub async fn events(
        &self,
        actor: &Actor,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<NumberedEvent, JobsError>> + Send + use<>, JobsError> {
        self.gate.permit(actor, Action::JobsRead, &Resource::Any)?;
        let after = match after {
            Some(after) => after,
            None => self.store.streams.last_seq(&StreamName::job_events()).await?,
        };
        let owner = actor.sees_only();
        let records = tail(
            Arc::clone(&self.store.streams),
            Arc::clone(&self.store.signals),
            StreamName::job_events(),
            after,
        );
        Ok(records.filter_map(move |record| {
            let event =
                record.and_then(|record| Ok(NumberedEvent { seq: record.seq, event: parse_event(&record)? }));
            let visible = match (&event, &owner) {
                (Ok(numbered), Some(owner)) => numbered.event.owner == *owner,
                (Ok(_), None) | (Err(_), _) => true,
            };
            std::future::ready(visible.then(|| event.map_err(JobsError::from)))
        }))
    }

    /// Returns the jobs by state. For the status page, so any valid credential will do.
    pub async fn counts(&self, actor: &Actor) -> Result<JobCounts, JobsError> {
        self.gate.permit(actor, Action::StatusRead, &Resource::Any)?;
        Ok(self.store.jobs.counts().await?)
    }

    /// Returns the running jobs that the caller may see.
    pub async fn running(&self, actor: &Actor) -> Result<Vec<Job>, JobsError> {
        self.gate.permit(actor, Action::JobsRead, &Resource::Any)?;
        let mut jobs = self.store.jobs.running().await?;
        if let Some(owner) = actor.sees_only() {
            jobs.retain(|job| job.owner == owner);
        }
        Ok(jobs)
    }

    /// Returns how many jobs of a workspace wait or run.
    pub(crate) async fn open_jobs(store: &Store, workspace: WorkspaceId) -> Result<u64, StoreError> {
        let mut open = 0;
        for status in [JobStatus::Pending, JobStatus::Running] {
            let filter = JobFilter {
                status: Some(status),
                workspace: Some(workspace),
                limit: 1,
                ..JobFilter::default()
            };
            open += store.jobs.list(filter).await?.total;
        }
        Ok(open)
    }

    /// Does something to one job, with an audit entry before and after.
    async fn perform<T: Send>(
        &self,
        actor: &Actor,
        verb: &'static str,
        id: JobId,
        effect: impl Future<Output = Result<T, JobsError>> + Send,
    ) -> Result<T, JobsError> {
        // Without the scope the gate is asked about nothing in particular: a key without it learns of no job.
        let resource = match decide(actor, Action::JobsWrite, &Resource::Any) {
            Decision::Allow => Resource::Owned { owner: self.existing(id).await?.owner },
            Decision::ScopeMissing(_) | Decision::NotTheirs => Resource::Any,
        };
        let deed = deed(verb, id, resource, None);
        self.gate.perform(actor, deed, effect).await.map_err(|error| not_theirs_job(id, error))
    }

    async fn existing(&self, id: JobId) -> Result<Job, JobsError> {
        self.store.jobs.get(id).await?.ok_or(JobsError::JobNotFound(id))
    }

    async fn permitted(&self, actor: &Actor, action: Action, id: JobId) -> Result<Job, JobsError> {
        // The scope comes first, so that a key without it cannot ask which jobs exist.
        self.gate.permit(actor, action, &Resource::Any)?;
        let job = self.existing(id).await?;
        let resource = Resource::Owned { owner: job.owner.clone() };
        self.gate.permit(actor, action, &resource).map_err(|error| not_theirs_job(id, error.into()))?;
        Ok(job)
    }
}

/// Describes a change of a job for the gate and its audit trail. Never with a prompt.
fn deed(verb: &'static str, id: JobId, resource: Resource, detail: Option<serde_json::Value>) -> Deed {
    let target = format!("job:{id}");
    Deed { action: Action::JobsWrite, verb, resource, target, place: EffectPlace::Store, detail }
}

/// What belongs to someone else does not exist.
fn not_theirs_job(id: JobId, error: JobsError) -> JobsError {
    match error {
        JobsError::Gate(GateError::NotTheirs) => JobsError::JobNotFound(id),
        error => error,
    }
}

type LineStream = std::pin::Pin<Box<dyn Stream<Item = Result<Record, StoreError>> + Send>>;
type EndStream = std::pin::Pin<Box<dyn Stream<Item = Result<JobStatus, StoreError>> + Send>>;

/// One follower of one log.
struct Follow {
    store: Store,
    id: JobId,
    sent: u64,
    /// Whether the job may have ended since it was last looked at.
    look: bool,
    /// Once the job has ended: its state and the number of its last line.
    last_line: Option<(JobStatus, u64)>,
    lines: LineStream,
    events: EndStream,
}

impl Follow {
    async fn next(&mut self) -> Result<LogItem, StoreError> {
        loop {
            if std::mem::take(&mut self.look) {
                self.look_for_end().await?;
            }
            if let Some((status, last)) = self.last_line
                && self.sent >= last
            {
                return Ok(LogItem::End { status });
            }
            tokio::select! {
                // Both are streams over stored records: a read that is dropped midway is done again.
                line = self.lines.next() => match line {
                    Some(Ok(record)) => {
                        self.sent = record.seq;
                        return Ok(LogItem::Line { seq: record.seq, text: text(&record) });
                    }
                    Some(Err(error)) => return Err(error),
                    None => return Ok(LogItem::End { status: JobStatus::Failed }),
                },
                event = self.events.next(), if self.last_line.is_none() => {
                    self.look = match event {
                        Some(Ok(status)) => status.is_terminal(),
                        Some(Err(error)) => return Err(error),
                        None => true,
                    };
                }
            }
        }
    }

    /// A worker writes the last line before it finishes the job, so the log is complete once the job has ended.
    async fn look_for_end(&mut self) -> Result<(), StoreError> {
        let status = match self.store.jobs.get(self.id).await? {
            Some(job) if !job.status().is_terminal() => return Ok(()),
            Some(job) => job.status(),
            None => JobStatus::Cancelled,
        };
        let last = self.store.streams.last_seq(&StreamName::job_log(self.id)).await?;
        self.last_line = Some((status, last));
        Ok(())
    }
}

fn about(id: JobId, record: Result<Record, StoreError>) -> Option<Result<JobStatus, StoreError>> {
    match record.and_then(|record| parse_event(&record)) {
        Ok(event) => (event.job_id == id).then_some(Ok(event.status)),
        Err(error) => Some(Err(error)),
    }
}

fn parse_event(record: &Record) -> Result<JobEvent, StoreError> {
    serde_json::from_slice(&record.data)
        .map_err(|error| StoreError::Corrupt { what: "job event".into(), reason: error.to_string() })
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(&record.data).into_owned()
}
