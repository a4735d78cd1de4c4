//! A queue that looks at every job, to compare engines with.

use claw_core::{
    ClaimedJob, Job, JobId, JobOutcome, JobState, JobStatus, Timestamp, Transition, WorkspaceId,
};

use super::{random::Random, setting::*};
use crate::Store;

struct Entry {
    job: Job,
    exclusive: bool,
    /// Its turn inside its priority; `None` while it backs off.
    turn: Option<u64>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    turns: u64,
}

impl Model {
    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn entry(&mut self, id: JobId) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.job.id == id).expect("the model knows every job")
    }

    fn submit(&mut self, job: Job, exclusive: bool) {
        let turn = Some(self.next_turn());
        self.entries.push(Entry { job, exclusive, turn });
    }

    /// Takes a step and, if the job waits again, finds its turn.
    fn step(&mut self, id: JobId, step: Transition, now: Timestamp) {
        let keeps_turn = matches!(&step, Transition::Finish { outcome: JobOutcome::Released, .. });
        let before = self.entry(id).job.status();
        self.entry(id).job.apply(step, now).expect("the engine took the step too");
        let job = &self.entry(id).job;
        if before == JobStatus::Running && job.status() == JobStatus::Pending && !keeps_turn {
            let is_due = !matches!(&job.state, JobState::Pending { not_before: Some(due), .. } if *due > now);
            let turn = is_due.then(|| self.next_turn());
            self.entry(id).turn = turn;
        }
    }

    fn claim(&mut self, now: Timestamp, until: Timestamp) -> Option<Job> {
        let lapsed =
            |entry: &Entry| matches!(&entry.job.state, JobState::Running { lease, .. } if lease.until <= now);
        let ids: Vec<_> =
            self.entries.iter().filter(|entry| lapsed(entry)).map(|entry| entry.job.id).collect();
        for id in ids {
            self.step(id, Transition::Lapse { max_retries: MAX_RETRIES, holder_is_dead: false }, now);
        }
        let mut woken: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| match &entry.job.state {
                JobState::Pending { not_before: Some(due), .. } if *due <= now && entry.turn.is_none() => {
                    Some((*due, entry.job.id))
                }
                _ => None,
            })
            .collect();
        woken.sort_by_key(|(due, _)| *due);
        for (_, id) in woken {
            let turn = self.next_turn();
            self.entry(id).turn = Some(turn);
        }
        let busy: Vec<WorkspaceId> = self
            .entries
            .iter()
            .filter(|entry| entry.exclusive && entry.job.status() == JobStatus::Running)
            .filter_map(|entry| entry.job.spec.workspace_id)
            .collect();
        let is_free = |entry: &&Entry| {
            !entry.exclusive || entry.job.spec.workspace_id.is_none_or(|workspace| !busy.contains(&workspace))
        };
        let waits = |entry: &&Entry| entry.job.status() == JobStatus::Pending && entry.turn.is_some();
        let first = self
            .entries
            .iter()
            .filter(waits)
            .filter(is_free)
            .min_by_key(|entry| (std::cmp::Reverse(entry.job.spec.priority), entry.turn))?;
        let id = first.job.id;
        self.step(id, Transition::Claim { worker: worker(0), until }, now);
        Some(self.entry(id).job.clone())
    }
}

/// Does the same random steps on the engine and on the model and compares what comes out.
pub(super) async fn compare(store: &Store, seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut held: Vec<ClaimedJob> = Vec::new();
    let workspaces = [WorkspaceId::new(), WorkspaceId::new(), WorkspaceId::new()];
    // Distinct moments, so that no two jobs become due at the same one and their order is not left open.
    let mut second = i64::try_from(seed).expect("a small seed") * 100_000;
    for number in 0..steps {
        second += 1;
        match random.below(10) {
            0..4 => {
                let mut request =
                    with_priority(request(&format!("{seed} {number}")), *random.pick(&[3, 5, 5, 9]));
                request.exclusive = !random.one_in(4);
                request.spec.workspace_id = (!random.one_in(4)).then(|| *random.pick(&workspaces));
                let exclusive = request.exclusive;
                let job = store.jobs.submit(request, at(second)).await.expect("stored").job;
                model.submit(job, exclusive);
            }
            4..7 => {
                let claimed = claim(store, second).await;
                let expected = model.claim(at(second), at(second + LEASE_SECS));
                assert_eq!(claimed.as_ref().map(|claimed| &claimed.job), expected.as_ref(), "step {number}");
                held.extend(claimed);
            }
            7 if !model.entries.is_empty() => {
                let id = random.pick(&model.entries).job.id;
                if !model.entry(id).job.status().is_terminal() {
                    store.jobs.cancel(id, "alice".into(), at(second)).await.expect("not ended");
                    model.step(id, Transition::RequestCancel { by: "alice".into() }, at(second));
                }
            }
            _ if !held.is_empty() => {
                let claimed = held.swap_remove(random.below(held.len()));
                let job = &model.entry(claimed.job.id).job;
                if job.status() != JobStatus::Running || job.lease_count != claimed.token {
                    continue;
                }
                let outcome = match random.below(4) {
                    0 => completed(),
                    1 => JobOutcome::Released,
                    2 => failed(Some(second + 7)),
                    _ => failed(None),
                };
                finish(store, &claimed, outcome.clone(), second).await;
                let (token, usage) = (claimed.token, usage());
                model.step(claimed.job.id, Transition::Finish { token, outcome, usage }, at(second));
            }
            _ => {}
        }
    }
    for entry in &model.entries {
        let stored = store.jobs.get(entry.job.id).await.expect("readable");
        assert_eq!(stored.as_ref(), Some(&entry.job));
        // The next comparison begins with an empty queue.
        if !entry.job.status().is_terminal() {
            store.jobs.cancel(entry.job.id, "alice".into(), at(second)).await.expect("not ended");
        }
    }
    store.jobs.lapse(&[String::new()], 0, at(second)).await.expect("every worker is dead");
}
