//! What the store must hold after the deeds that were acknowledged.

use std::collections::BTreeMap;

use claw_core::{JobId, JobStatus};

use super::protocol::{Deed, Ending};

/// A job as the parent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelJob {
    pub(super) status: JobStatus,
    /// Whether its holder was asked to end it.
    pub(super) cancel_requested: bool,
    pub(super) leases: u64,
    pub(super) cost_nanos: u64,
    pub(super) result: Option<String>,
    /// Lines ever appended to its log.
    pub(super) lines: u64,
    /// Its states in the order of its events.
    pub(super) events: Vec<JobStatus>,
    pub(super) is_deleted: bool,
}

/// All that one actor did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModelActor {
    pub(super) jobs: BTreeMap<JobId, ModelJob>,
    pub(super) spent_nanos: u64,
    pub(super) runs: u64,
    /// Records in the chained stream.
    pub(super) records: u64,
}

impl ModelJob {
    fn new() -> Self {
        Self {
            status: JobStatus::Pending,
            cancel_requested: false,
            leases: 0,
            cost_nanos: 0,
            result: None,
            lines: 0,
            events: vec![JobStatus::Pending],
            is_deleted: false,
        }
    }

    fn enter(&mut self, status: JobStatus) {
        self.status = status;
        self.events.push(status);
        self.cancel_requested = false;
    }

    /// Ends the run, for a holder that reports or for one that died.
    fn end_run(&mut self, status: JobStatus) {
        let cancelled = self.cancel_requested;
        self.enter(if cancelled { JobStatus::Cancelled } else { status });
    }

    /// Takes the job from its dead holder, if it has one.
    pub(super) fn lapse(&mut self) {
        if self.status == JobStatus::Running {
            self.end_run(JobStatus::Pending);
        }
    }

    /// The job once it is deleted; only its events stay.
    fn delete(&mut self) {
        *self = Self { is_deleted: true, status: self.status, events: self.events.clone(), ..Self::new() };
    }
}

impl ModelActor {
    fn job(&mut self, id: JobId) -> &mut ModelJob {
        self.jobs.get_mut(&id).expect("the child submitted it")
    }

    /// Takes in a deed that was acknowledged.
    pub(super) fn take_in(&mut self, deed: &Deed, claimed: Option<JobId>) {
        match *deed {
            Deed::Submit(id) => {
                let before = self.jobs.insert(id, ModelJob::new());
                assert_eq!(before, None, "ids are new");
            }
            Deed::SubmitAgain(_) => {}
            Deed::Claim => {
                if let Some(id) = claimed {
                    let job = self.job(id);
                    assert_eq!(job.status, JobStatus::Pending, "only a waiting job is handed out");
                    job.leases += 1;
                    job.enter(JobStatus::Running);
                }
            }
            Deed::Finish { job: id, ending, cost_nanos } => {
                self.runs += 1;
                self.spent_nanos += cost_nanos;
                let job = self.job(id);
                job.cost_nanos += cost_nanos;
                job.end_run(match ending {
                    Ending::Completed => JobStatus::Completed,
                    Ending::Failed => JobStatus::Failed,
                    Ending::Retried | Ending::Released => JobStatus::Pending,
                });
                if job.status == JobStatus::Completed {
                    job.result = Some(format!("result of lease {}", job.leases));
                }
            }
            Deed::Cancel(id) => {
                let job = self.job(id);
                match job.status {
                    JobStatus::Running => job.cancel_requested = true,
                    _ => job.enter(JobStatus::Cancelled),
                }
            }
            Deed::Charge { job, cost_nanos } => {
                self.spent_nanos += cost_nanos;
                self.job(job).cost_nanos += cost_nanos;
            }
            Deed::Log { job, lines } => self.job(job).lines += lines,
            Deed::Audit => self.records += 1,
            Deed::Delete(id) => self.job(id).delete(),
        }
    }

    /// Returns every way in which the store may hold what this actor did, if `unanswered` was begun and not
    /// acknowledged: not at all or whole.
    pub(super) fn possible(&self, unanswered: Option<&Deed>) -> Vec<Self> {
        let mut ways = vec![self.clone()];
        let mut may_be = |deed: &Deed, claimed: Option<JobId>| {
            let mut way = self.clone();
            way.take_in(deed, claimed);
            ways.push(way);
        };
        match unanswered {
            None => {}
            Some(Deed::Claim) => {
                let waiting = self.jobs.iter().filter(|(_, job)| job.status == JobStatus::Pending);
                waiting.for_each(|(id, _)| may_be(&Deed::Claim, Some(*id)));
            }
            Some(deed) => may_be(deed, None),
        }
        ways
    }
}
