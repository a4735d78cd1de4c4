//! Long calls that clients poll (the tasks extension, SEP-2663): bounded in number and time, and known to whoever began
//! them alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rmcp::{
    ErrorData,
    model::{CallToolResult, DetailedTask, InputResponses, Task},
    task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions},
};

use crate::Owner;

/// How long a call may take, and then how long its end can be asked for.
const LIFE: Duration = Duration::from_secs(3600);

/// What clients are told to wait between two looks.
const POLL_MS: u64 = 1000;

/// Calls that one owner may have begun and not forgotten.
const MOST_EACH: usize = 64;

/// The same for all owners together.
const MOST: usize = 512;

/// The long calls of one server. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Tasks {
    manager: TaskManager,
    // A std mutex: held for a look-up, never across an await.
    begun: Arc<Mutex<HashMap<String, Begun>>>,
}

struct Begun {
    owner: Owner,
    at: Instant,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

impl Tasks {
    /// Takes room for a call of `owner`; `None` if there is none: it can still be done while the client waits.
    pub fn enter(&self, owner: &Owner) -> Option<TaskRoom<'_>> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        // The manager forgets a call when its end was there to be asked for as long as it may take.
        begun.retain(|_, call| call.at.elapsed() < 2 * LIFE);
        let own = begun.values().filter(|call| call.owner == *owner).count();
        let has_room = own < MOST_EACH && begun.len() < MOST;
        has_room.then(|| TaskRoom { manager: &self.manager, begun, owner: owner.clone() })
    }

    /// Returns how a call stands.
    ///
    /// # Errors
    ///
    /// `owner` has begun no such call, or it was forgotten.
    pub fn get(&self, owner: &Owner, id: &str) -> Result<DetailedTask, ErrorData> {
        self.require(owner, id)?;
        self.manager.get_task(id)
    }

    /// Hands a call what it asked the client for.
    ///
    /// # Errors
    ///
    /// `owner` has begun no such call, or it was forgotten.
    pub fn update(&self, owner: &Owner, id: &str, responses: InputResponses) -> Result<(), ErrorData> {
        self.require(owner, id)?;
        self.manager.update_task(id, responses)
    }

    /// Cancels a call. One that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// `owner` has begun no such call, or it was forgotten.
    pub fn cancel(&self, owner: &Owner, id: &str) -> Result<(), ErrorData> {
        self.require(owner, id)?;
        self.manager.cancel_task(id)
    }

    /// Drops all calls.
    pub fn end(&self) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.manager.shutdown();
    }

    /// What others began does not exist.
    fn require(&self, owner: &Owner, id: &str) -> Result<(), ErrorData> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match begun.get(id) {
            Some(call) if call.owner == *owner => Ok(()),
            Some(_) | None => Err(ErrorData::invalid_params(format!("unknown task: {id}"), None)),
        }
    }
}

/// Room for one call.
pub struct TaskRoom<'a> {
    manager: &'a TaskManager,
    begun: MutexGuard<'a, HashMap<String, Begun>>,
    owner: Owner,
}

impl TaskRoom<'_> {
    /// Begins a call and returns its handle at once. A call that the client cancels is dropped where it stands.
    pub fn begin<F>(mut self, work: impl FnOnce(TaskContext) -> F) -> Task
    where
        F: Future<Output = Result<CallToolResult, ErrorData>> + Send + 'static,
    {
        let life = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
        let options = TaskOptions::new().with_ttl_ms(life).with_poll_interval_ms(POLL_MS);
        let task = self.manager.spawn(options, |context| {
            let cancelled = context.clone();
            let working = work(context);
            Box::pin(async move {
                tokio::select! {
                    biased;
                    () = cancelled.cancelled() => Err(TaskExit::Cancelled),
                    done = working => done.map_err(TaskExit::Error),
                }
            })
        });
        self.begun.insert(task.task_id.clone(), Begun { owner: self.owner, at: Instant::now() });
        task
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ContentBlock, TaskStatus};

    use super::*;

    async fn done(text: &str) -> Result<CallToolResult, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }

    #[tokio::test]
    async fn t20_a_call_is_known_to_whoever_began_it_alone() {
        let (tasks, anna, ben) = (Tasks::default(), Owner::new("anna"), Owner::new("ben"));

        let task = tasks.enter(&anna).expect("room").begin(|_| done("42"));

        assert!(tasks.get(&anna, &task.task_id).is_ok());
        let unknown = tasks.get(&ben, "no-such-task").expect_err("there is none");
        let foreign = tasks.get(&ben, &task.task_id).expect_err("it is not theirs");
        assert_eq!(foreign.code, unknown.code);
        assert_eq!(foreign.message.replace(&task.task_id, "no-such-task"), unknown.message);
        assert!(tasks.cancel(&ben, &task.task_id).is_err());
        assert!(tasks.update(&ben, &task.task_id, InputResponses::new()).is_err());
    }

    #[tokio::test]
    async fn a_cancelled_call_is_dropped_and_says_so() {
        let (tasks, owner) = (Tasks::default(), Owner::default());
        let (alive, mut dropped) = tokio::sync::mpsc::channel::<()>(1);
        let work = |_| async move {
            let _alive = alive;
            std::future::pending::<Result<CallToolResult, ErrorData>>().await
        };
        let task = tasks.enter(&owner).expect("room").begin(work);

        tasks.cancel(&owner, &task.task_id).expect("it can be cancelled");

        assert_eq!(dropped.recv().await, None);
        while tasks.get(&owner, &task.task_id).expect("a task").status() == TaskStatus::Working {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.get(&owner, &task.task_id).expect("a task").status(), TaskStatus::Cancelled);
    }

    #[tokio::test]
    async fn t32_one_owner_cannot_take_the_room_of_others() {
        let (tasks, greedy) = (Tasks::default(), Owner::new("greedy"));
        for _ in 0..MOST_EACH {
            tasks.enter(&greedy).expect("room").begin(|_| done(""));
        }

        assert!(tasks.enter(&greedy).is_none());
        assert!(tasks.enter(&Owner::new("other")).is_some());
    }
}
