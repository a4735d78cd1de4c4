//! The child: a few actors that use the store at the same time, each with its own jobs, and tell what they do.

use std::{io::Write, path::Path, time::Duration};

use claw_core::{
    ClaimedJob, FailureKind, JobId, JobOutcome, JobResult, JobSource, JobSpec, JobStatus, ModelUse, RunUsage,
    TokenUsage, Usd, WorkerId,
};
use claw_store::{Charge, ClaimRequest, JobFilter, Store, StreamName, SubmitRequest};
use futures_util::future::join_all;

use super::{
    ACTORS,
    protocol::{Deed, Ending, Line, Random, key, owner},
};
use crate::setting::{now, open};

/// Calls of one actor in a life that nobody ends.
const DEEDS: usize = 25;

/// Uses the store until it dies, or all is done.
pub(super) async fn live(folder: &Path, seed: u64) {
    let opened = open(&folder.join("store.db"));
    let store = opened.store();
    join_all((0..ACTORS).map(|actor| Actor::act(actor, seed, store.clone()))).await;
    drop(store);
    opened.close().await;
    tell(&Line::End);
}

fn tell(line: &Line) {
    std::io::stdout().lock().write_all(line.text().as_bytes()).expect("the parent reads");
}

struct Actor {
    number: usize,
    store: Store,
    random: Random,
    waiting: Vec<JobId>,
    held: Vec<ClaimedJob>,
    ended: Vec<JobId>,
    records: u64,
}

impl Actor {
    async fn act(number: usize, seed: u64, store: Store) {
        let mut actor = Self {
            number,
            random: Random(seed.wrapping_mul(31).wrapping_add(number as u64)),
            waiting: Vec::new(),
            held: Vec::new(),
            ended: Vec::new(),
            records: 0,
            store,
        };
        actor.look().await;
        for _ in 0..DEEDS {
            if let Some(deed) = actor.choose() {
                tell(&Line::Begin(number, deed.clone()));
                let claimed = actor.perform(deed).await;
                tell(&Line::Acknowledged { actor: number, claimed });
            }
        }
    }

    /// Finds what earlier lives left.
    async fn look(&mut self) {
        let filter = JobFilter { owner: Some(owner(self.number)), limit: 1_000_000, ..JobFilter::default() };
        for job in self.store.jobs.list(filter).await.expect("readable").items {
            match job.status() {
                JobStatus::Pending => self.waiting.push(job.id),
                JobStatus::Running => {}
                JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => self.ended.push(job.id),
            }
        }
        let page = self.store.streams.read_chained(&StreamName::audit(), 0, 1_000_000).await;
        let mine = format!("{}/", owner(self.number));
        let records = page.expect("readable").records;
        let mine = records.iter().filter(|chained| chained.record.data.starts_with(mine.as_bytes()));
        self.records = mine.count() as u64;
    }

    fn choose(&mut self) -> Option<Deed> {
        let held: Vec<_> = self.held.iter().map(|claimed| claimed.job.id).collect();
        let open: Vec<_> = self.waiting.iter().chain(&held).copied().collect();
        let cost_nanos = self.random.below(1_000_000_000);
        let random = &mut self.random;
        Some(match random.below(20) {
            0..4 => Deed::Submit(JobId::new()),
            4 => Deed::SubmitAgain(random.pick(&open)?),
            5..9 => Deed::Claim,
            9..12 => {
                let endings = [Ending::Completed, Ending::Failed, Ending::Retried, Ending::Released];
                let ending = random.pick(&endings)?;
                Deed::Finish { job: random.pick(&held)?, ending, cost_nanos }
            }
            12 => Deed::Cancel(random.pick(&open)?),
            13..15 => Deed::Charge { job: random.pick(&held)?, cost_nanos },
            15..17 => Deed::Log { job: random.pick(&held)?, lines: 1 + random.below(5) },
            17..19 => Deed::Audit,
            _ => Deed::Delete(random.pick(&self.ended)?),
        })
    }

    /// Does it, and returns the job that a claim gave.
    async fn perform(&mut self, deed: Deed) -> Option<JobId> {
        let (jobs, streams) = (self.store.jobs.clone(), self.store.streams.clone());
        match deed {
            Deed::Submit(id) => {
                assert!(self.submit(id).await, "a new job");
                self.waiting.push(id);
            }
            Deed::SubmitAgain(id) => assert!(!self.submit(id).await, "known by its key"),
            Deed::Claim => {
                let claimed = self.claim().await?;
                let id = claimed.job.id;
                self.waiting.retain(|waiting| *waiting != id);
                self.held.push(claimed);
                return Some(id);
            }
            Deed::Finish { job, ending, cost_nanos } => self.finish(job, ending, cost_nanos).await,
            Deed::Cancel(id) => {
                let job = jobs.cancel(id, owner(self.number), now()).await.expect("it has not ended");
                if job.status() == JobStatus::Cancelled {
                    self.waiting.retain(|waiting| *waiting != id);
                    self.ended.push(id);
                }
            }
            Deed::Charge { job, cost_nanos } => {
                let used = ModelUse {
                    model: "model".into(),
                    tokens: TokenUsage::default(),
                    turns: 1,
                    cost: Usd::from_nanos(cost_nanos),
                };
                let charge = Charge { job, owner: owner(self.number), workspace: None, used };
                jobs.charge(charge, now()).await.expect("charged");
            }
            Deed::Log { job, lines } => {
                let log = StreamName::job_log(job);
                let last = streams.last_seq(&log).await.expect("readable");
                let lines = (last + 1..=last + lines).map(|line| line.to_string().into_bytes()).collect();
                streams.append(&log, lines, now()).await.expect("appended");
            }
            Deed::Audit => {
                self.records += 1;
                let record = format!("{}/{}", owner(self.number), self.records).into_bytes();
                streams.append_chained(&StreamName::audit(), vec![record], now()).await.expect("appended");
            }
            Deed::Delete(id) => {
                jobs.delete(id).await.expect("it has ended");
                self.ended.retain(|ended| *ended != id);
            }
        }
        None
    }

    /// Submits and returns whether that made the job.
    async fn submit(&self, id: JobId) -> bool {
        let request = SubmitRequest {
            id,
            owner: owner(self.number),
            spec: JobSpec::new(format!("the work of {}", owner(self.number)), JobSource::Api),
            exclusive: false,
            idempotency_key: Some(key(id)),
        };
        let submitted = self.store.jobs.submit(request, now()).await.expect("stored");
        assert_eq!(submitted.job.id, id);
        submitted.created
    }

    async fn claim(&self) -> Option<ClaimedJob> {
        let request = ClaimRequest {
            worker: WorkerId::new("host", "child", self.number),
            lease_until: now() + Duration::from_secs(3_600),
            max_retries: u32::MAX,
            skip_owners: (0..ACTORS).filter(|other| *other != self.number).map(owner).collect(),
        };
        self.store.jobs.claim(request, now()).await.expect("works")
    }

    async fn finish(&mut self, id: JobId, ending: Ending, cost_nanos: u64) {
        let place = self.held.iter().position(|claimed| claimed.job.id == id).expect("held");
        let token = self.held.remove(place).token;
        let failed = |retry_at| {
            let (kind, error) = (FailureKind::ModelUnavailable, "overloaded".to_owned());
            JobOutcome::Failed { kind, error, retry_at }
        };
        let outcome = match ending {
            Ending::Completed => {
                let text = format!("result of lease {token}");
                JobOutcome::Completed { result: JobResult { text, ..JobResult::default() } }
            }
            Ending::Failed => failed(None),
            Ending::Retried => failed(Some(now())),
            Ending::Released => JobOutcome::Released,
        };
        let usage = RunUsage { cost_usd: Some(Usd::from_nanos(cost_nanos).dollars()), duration_ms: 1 };
        let job = self.store.jobs.finish(id, token, outcome, usage, now()).await.expect("the holder may");
        match job.status().is_terminal() {
            true => self.ended.push(id),
            false => self.waiting.push(id),
        }
    }
}
