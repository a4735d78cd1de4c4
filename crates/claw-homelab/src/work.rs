//! Work that goes on when whoever asked for it hangs up.

use claw_core::Coded;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::HomelabError;

/// Where work is done: on tasks of the house's own, which it waits for when it stops.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    tasks: TaskTracker,
}

impl Work {
    pub(crate) fn on(tasks: TaskTracker) -> Self {
        Self { tasks }
    }

    /// Does something to its end, whether or not the caller waits for it.
    pub(crate) async fn to_its_end<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<HomelabError> + Coded + Send + 'static,
    {
        match self.tasks.spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(HomelabError::Stopping.into()),
            },
        }
    }

    /// Begins something that nobody waits for here.
    pub(crate) fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work.in_current_span());
    }
}
