//! The steps of a job's life, and which may follow which.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FailureKind, JobOutcome, JobSpec, JobState, JobStatus, Lease, RunUsage};
use crate::{JobId, WorkerId};

/// One step of a job's life.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// A worker takes the job.
    Claim {
        /// Who.
        worker: WorkerId,
        /// When the lease lapses.
        until: Timestamp,
    },
    /// The holder goes on.
    Renew {
        /// The lease's token.
        token: u64,
        /// When the lease lapses now.
        until: Timestamp,
    },
    /// Someone asks for the job to end.
    RequestCancel {
        /// Owner mark of who asked.
        by: String,
    },
    /// The holder reports how the run ended.
    Finish {
        /// The lease's token.
        token: u64,
        /// How it ended.
        outcome: JobOutcome,
        /// What it used.
        usage: RunUsage,
    },
    /// The holder is gone.
    Lapse {
        /// Retries after which the job fails.
        max_retries: u32,
        /// Whether the holder is known to be dead, so that its lease need not run out first.
        holder_is_dead: bool,
    },
}

impl Transition {
    fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Renew { .. } => "renew",
            Self::RequestCancel { .. } => "cancel",
            Self::Finish { .. } => "finish",
            Self::Lapse { .. } => "lapse",
        }
    }
}

/// A step that may not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// The job's state does not allow the step.
    #[error("cannot {step} a job that is {status}")]
    WrongState {
        /// The step's name.
        step: &'static str,
        /// The job's state.
        status: JobStatus,
    },
    /// The lease passed to another worker, or the job ended.
    #[error("the lease on the job was lost")]
    LostLease,
    /// The lease has not run out.
    #[error("the lease on the job has not lapsed")]
    NotLapsed,
    /// The job is backing off.
    #[error("the job is not due yet")]
    NotDue,
}

/// One job as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Identifies the job.
    pub id: JobId,
    /// Who submitted it, as [`crate::Actor::owner`] writes it.
    pub owner: String,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Runs that failed and were or will be tried again.
    pub retry_count: u32,
    /// Claims so far; the token of the newest lease.
    pub lease_count: u64,
    /// What all runs used together.
    pub usage: RunUsage,
    /// When the job was first postponed, as long as nothing else came of its runs since.
    #[serde(default)]
    pub postponed_since: Option<Timestamp>,
}

impl Job {
    /// Returns a new job that waits for a worker.
    pub fn new(id: JobId, owner: String, spec: JobSpec, now: Timestamp) -> Self {
        Self {
            id,
            owner,
            spec,
            state: JobState::Pending { not_before: None, last_error: None },
            created_at: now,
            retry_count: 0,
            lease_count: 0,
            usage: RunUsage::default(),
            postponed_since: None,
        }
    }

    /// Returns the state's name.
    pub fn status(&self) -> JobStatus {
        self.state.status()
    }

    /// Takes one step.
    ///
    /// A cancel that was acknowledged wins: whatever the holder reports afterwards, the job reads cancelled, and
    /// what the run used is kept.
    ///
    /// # Errors
    ///
    /// Returns why the step may not follow; the job is unchanged then.
    pub fn apply(&mut self, transition: Transition, now: Timestamp) -> Result<(), IllegalTransition> {
        let wrong_state = IllegalTransition::WrongState { step: transition.name(), status: self.status() };
        match transition {
            Transition::Claim { worker, until } => {
                let JobState::Pending { not_before, .. } = &self.state else { return Err(wrong_state) };
                if not_before.is_some_and(|due| due > now) {
                    return Err(IllegalTransition::NotDue);
                }
                self.lease_count += 1;
                let lease = Lease { worker, token: self.lease_count, until };
                self.state = JobState::Running { started_at: now, lease, cancel_requested_by: None };
            }
            Transition::Renew { token, until } => {
                let JobState::Running { lease, .. } = &mut self.state else {
                    return Err(IllegalTransition::LostLease);
                };
                if lease.token != token {
                    return Err(IllegalTransition::LostLease);
                }
                lease.until = until;
            }
            Transition::RequestCancel { by } => match &mut self.state {
                JobState::Pending { .. } => {
                    self.state = JobState::Cancelled { started_at: None, finished_at: now, by };
                }
                JobState::Running { cancel_requested_by, .. } => {
                    cancel_requested_by.get_or_insert(by);
                }
                JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                    return Err(wrong_state);
                }
            },
            Transition::Finish { token, outcome, usage } => {
                let JobState::Running { started_at, lease, cancel_requested_by } = &self.state else {
                    return Err(IllegalTransition::LostLease);
                };
                if lease.token != token {
                    return Err(IllegalTransition::LostLease);
                }
                let since = match &outcome {
                    JobOutcome::Postponed { .. } => self.postponed_since.or(Some(now)),
                    JobOutcome::Released => self.postponed_since,
                    JobOutcome::Completed { .. } | JobOutcome::Failed { .. } | JobOutcome::Cancelled => None,
                };
                let next = after_run(*started_at, lease, cancel_requested_by.clone(), outcome, now);
                self.retry_count += u32::from(next.counts_as_retry);
                self.state = next.state;
                self.postponed_since = since;
                self.add_usage(usage);
            }
            Transition::Lapse { max_retries, holder_is_dead } => {
                let JobState::Running { started_at, lease, cancel_requested_by } = &self.state else {
                    return Err(wrong_state);
                };
                if lease.until > now && !holder_is_dead {
                    return Err(IllegalTransition::NotLapsed);
                }
                let error = format!("worker {} stopped answering while it ran this job", lease.worker);
                let retry_at = (self.retry_count < max_retries).then_some(now);
                let outcome = JobOutcome::Failed { kind: FailureKind::WorkerLost, error, retry_at };
                let next = after_run(*started_at, lease, cancel_requested_by.clone(), outcome, now);
                self.retry_count += u32::from(next.counts_as_retry);
                self.state = next.state;
            }
        }
        Ok(())
    }

    fn add_usage(&mut self, run: RunUsage) {
        self.usage.duration_ms = self.usage.duration_ms.saturating_add(run.duration_ms);
        if let Some(cost) = run.cost_usd {
            self.usage.cost_usd = Some(self.usage.cost_usd.unwrap_or(0.0) + cost);
        }
    }
}

struct AfterRun {
    state: JobState,
    counts_as_retry: bool,
}

fn after_run(
    started_at: Timestamp,
    lease: &Lease,
    cancel_requested_by: Option<String>,
    outcome: JobOutcome,
    now: Timestamp,
) -> AfterRun {
    let worker = lease.worker.clone();
    let ended = |state| AfterRun { state, counts_as_retry: false };
    if let Some(by) = cancel_requested_by {
        return ended(JobState::Cancelled { started_at: Some(started_at), finished_at: now, by });
    }
    match outcome {
        JobOutcome::Completed { .. } => ended(JobState::Completed { started_at, finished_at: now, worker }),
        JobOutcome::Failed { error, retry_at: Some(due), .. } => AfterRun {
            state: JobState::Pending { not_before: Some(due), last_error: Some(error) },
            counts_as_retry: true,
        },
        JobOutcome::Failed { kind, error, retry_at: None } => {
            ended(JobState::Failed { started_at, finished_at: now, worker, kind, error })
        }
        // The worker was told to end the run although nobody's request is on record: the house itself did it.
        JobOutcome::Cancelled => {
            ended(JobState::Cancelled { started_at: Some(started_at), finished_at: now, by: "system".into() })
        }
        JobOutcome::Released => ended(JobState::Pending { not_before: None, last_error: None }),
        JobOutcome::Postponed { error, until } => {
            ended(JobState::Pending { not_before: Some(until), last_error: Some(error) })
        }
    }
}

/// A job in the hands of the worker that claimed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The job, running.
    pub job: Job,
    /// Token to renew and finish with.
    pub token: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{JobResult, JobSource};

    const LEASE_SECS: i64 = 30;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time in range")
    }

    fn worker() -> WorkerId {
        WorkerId::new("host", "boot", 0)
    }

    fn claim(now: i64) -> Transition {
        Transition::Claim { worker: worker(), until: at(now + LEASE_SECS) }
    }

    fn finish(token: u64, outcome: JobOutcome) -> Transition {
        Transition::Finish { token, outcome, usage: RunUsage { cost_usd: Some(0.5), duration_ms: 10 } }
    }

    fn failed(retry_at: Option<Timestamp>) -> JobOutcome {
        JobOutcome::Failed { kind: FailureKind::ModelUnavailable, error: "overloaded".into(), retry_at }
    }

    fn completed() -> JobOutcome {
        JobOutcome::Completed { result: JobResult::default() }
    }

    fn postponed(until: i64) -> JobOutcome {
        JobOutcome::Postponed { error: "rate limited".into(), until: at(until) }
    }

    fn cancel() -> Transition {
        Transition::RequestCancel { by: "token".into() }
    }

    fn pending() -> Job {
        Job::new(JobId::new(), "token".into(), JobSpec::new("x", JobSource::Api), at(0))
    }

    /// A job brought to the given state by legal steps only.
    fn job(status: JobStatus) -> Job {
        let mut job = pending();
        let steps = match status {
            JobStatus::Pending => vec![],
            JobStatus::Running => vec![claim(0)],
            JobStatus::Completed => vec![claim(0), finish(1, completed())],
            JobStatus::Failed => vec![claim(0), finish(1, failed(None))],
            JobStatus::Cancelled => vec![cancel()],
        };
        for step in steps {
            job.apply(step, at(0)).expect("a legal step");
        }
        assert_eq!(job.status(), status);
        job
    }

    #[test]
    fn the_whole_transition_table_holds() {
        use JobStatus::*;
        type Case = (&'static str, fn() -> Transition, [Option<JobStatus>; 5]);
        // Columns: pending, running, completed, failed, cancelled. `None`: the step is refused.
        let table: [Case; 11] = [
            ("claim", || claim(1), [Some(Running), None, None, None, None]),
            (
                "renew",
                || Transition::Renew { token: 1, until: at(60) },
                [None, Some(Running), None, None, None],
            ),
            ("cancel", cancel, [Some(Cancelled), Some(Running), None, None, None]),
            ("complete", || finish(1, completed()), [None, Some(Completed), None, None, None]),
            ("fail for good", || finish(1, failed(None)), [None, Some(Failed), None, None, None]),
            ("fail and retry", || finish(1, failed(Some(at(9)))), [None, Some(Pending), None, None, None]),
            (
                "confirm cancel",
                || finish(1, JobOutcome::Cancelled),
                [None, Some(Cancelled), None, None, None],
            ),
            ("release", || finish(1, JobOutcome::Released), [None, Some(Pending), None, None, None]),
            ("postpone", || finish(1, postponed(9)), [None, Some(Pending), None, None, None]),
            (
                "lapse of a dead holder",
                || Transition::Lapse { max_retries: 3, holder_is_dead: true },
                [None, Some(Pending), None, None, None],
            ),
            (
                "lapse early",
                || Transition::Lapse { max_retries: 3, holder_is_dead: false },
                [None, None, None, None, None],
            ),
        ];
        for (name, transition, expected) in table {
            for (from, expected) in JobStatus::ALL.into_iter().zip(expected) {
                let before = job(from);
                let mut after = before.clone();

                let outcome = after.apply(transition(), at(1));

                assert_eq!(outcome.is_ok(), expected.is_some(), "{name} from {from}");
                match expected {
                    Some(status) => assert_eq!(after.status(), status, "{name} from {from}"),
                    None => assert_eq!(after, before, "{name} from {from} must change nothing"),
                }
            }
        }
    }

    #[test]
    fn an_acknowledged_cancel_wins_over_every_later_report() {
        for outcome in [
            completed(),
            failed(None),
            failed(Some(at(5))),
            JobOutcome::Cancelled,
            JobOutcome::Released,
            postponed(5),
        ] {
            let mut job = job(JobStatus::Running);
            job.apply(cancel(), at(1)).expect("a running job can be asked to end");

            job.apply(finish(1, outcome.clone()), at(2)).expect("the holder reports");

            assert!(matches!(&job.state, JobState::Cancelled { by, .. } if by == "token"), "{outcome:?}");
            assert_eq!(job.usage.cost_usd, Some(0.5), "the cost is kept");
        }
    }

    #[test]
    fn a_lapsed_lease_frees_the_job_and_refuses_the_old_holder() {
        let mut job = job(JobStatus::Running);

        job.apply(Transition::Lapse { max_retries: 3, holder_is_dead: false }, at(LEASE_SECS))
            .expect("the lease ran out");
        job.apply(claim(LEASE_SECS), at(LEASE_SECS)).expect("it can be claimed again");

        assert_eq!(job.apply(finish(1, completed()), at(40)), Err(IllegalTransition::LostLease));
        assert_eq!(
            job.apply(Transition::Renew { token: 1, until: at(99) }, at(40)),
            Err(IllegalTransition::LostLease)
        );
        assert_eq!(job.retry_count, 1);
        assert_eq!(job.apply(finish(2, completed()), at(41)), Ok(()));
    }

    #[test]
    fn a_postponed_job_keeps_its_retries_and_remembers_since_when_it_waits() {
        let mut job = pending();
        for second in [0, 10] {
            job.apply(claim(second), at(second)).expect("claimable");
            let finish = finish(job.lease_count, postponed(second + 10));
            job.apply(finish, at(second + 1)).expect("the holder reports");
        }
        assert_eq!((job.retry_count, job.postponed_since), (0, Some(at(1))));
        assert_eq!(job.apply(claim(19), at(19)), Err(IllegalTransition::NotDue));

        job.apply(claim(20), at(20)).expect("due");
        job.apply(finish(3, failed(Some(at(25)))), at(21)).expect("the holder reports");

        assert_eq!((job.retry_count, job.postponed_since), (1, None));
    }

    #[test]
    fn a_job_whose_workers_keep_dying_fails_after_the_last_retry() {
        let mut job = pending();
        for _ in 0..3 {
            job.apply(claim(0), at(0)).expect("claimable");
            job.apply(Transition::Lapse { max_retries: 2, holder_is_dead: false }, at(LEASE_SECS))
                .expect("lapsed");
            // The next claim happens at the same moment, so that the test needs no second clock.
            if let JobState::Pending { not_before, .. } = &mut job.state {
                *not_before = None;
            }
        }

        assert!(
            matches!(&job.state, JobState::Failed { kind: FailureKind::WorkerLost, .. }),
            "{:?}",
            job.state
        );
        assert_eq!(job.retry_count, 2);
    }

    #[test]
    fn a_lapse_after_a_cancel_request_ends_the_job() {
        let mut job = job(JobStatus::Running);
        job.apply(cancel(), at(1)).expect("asked");

        job.apply(Transition::Lapse { max_retries: 3, holder_is_dead: false }, at(LEASE_SECS))
            .expect("lapsed");

        assert_eq!(job.status(), JobStatus::Cancelled);
    }

    #[test]
    fn a_job_that_backs_off_is_not_claimable_before_its_time() {
        let mut job = job(JobStatus::Running);
        job.apply(finish(1, failed(Some(at(10)))), at(1)).expect("failed");

        assert_eq!(job.apply(claim(9), at(9)), Err(IllegalTransition::NotDue));
        assert_eq!(job.apply(claim(10), at(10)), Ok(()));
        assert_eq!(job.usage, RunUsage { cost_usd: Some(0.5), duration_ms: 10 });
    }

    proptest! {
        /// Whatever happens in whatever order, a job that ended stays as it ended.
        #[test]
        fn an_ended_job_never_changes(steps in proptest::collection::vec((0u8..9, 0i64..200, 0u64..4), 1..40)) {
            let mut job = pending();
            let mut ended: Option<Job> = None;
            for (kind, time, token) in steps {
                let step = match kind {
                    0 => claim(time),
                    1 => Transition::Renew { token, until: at(time + LEASE_SECS) },
                    2 => cancel(),
                    3 => finish(token, completed()),
                    4 => finish(token, failed(None)),
                    5 => finish(token, failed(Some(at(time)))),
                    6 => finish(token, JobOutcome::Released),
                    7 => finish(token, JobOutcome::Cancelled),
                    _ => Transition::Lapse { max_retries: 2, holder_is_dead: false },
                };
                let outcome = job.apply(step, at(time));
                if let Some(ended) = &ended {
                    prop_assert!(outcome.is_err());
                    prop_assert_eq!(ended, &job);
                } else if job.status().is_terminal() {
                    ended = Some(job.clone());
                }
            }
        }
    }
}
