//! How a run gets its CLI: one that waits is told the task, or one is started.

use std::path::PathBuf;

use super::RunRequest;
use crate::{
    sandbox::{JOB_VARIABLE, Sandbox, SandboxError, SandboxRun, SandboxSpec},
    warm::Waiting,
};

/// Returns the run at work. Dropping the future midway leaves nothing running.
pub(super) async fn launch(
    sandbox: &dyn Sandbox,
    waiting: Option<Box<dyn Waiting>>,
    request: RunRequest,
    socket_dir: PathBuf,
) -> Result<Box<dyn SandboxRun>, SandboxError> {
    if let Some(waiting) = waiting {
        let call = request.invocation.late_call(&[(JOB_VARIABLE, &request.job.to_string())]);
        match waiting.begin(request.job, request.attempt, call).await {
            Ok(run) => return Ok(run),
            // It is gone, and was told nothing that it would have begun to work on.
            Err(error) => {
                tracing::warn!(job.id = %request.job, %error, "a sandbox that waited cannot be used; starting another one");
            }
        }
    }
    sandbox.start(spec(request, socket_dir)).await
}

fn spec(request: RunRequest, socket_dir: PathBuf) -> SandboxSpec {
    SandboxSpec {
        job: request.job,
        attempt: request.attempt,
        workspace: request.workspace,
        work_dir: request.work_dir,
        current_dir: request.current_dir,
        socket_dir,
        arguments: request.invocation.arguments(),
        environment: request.environment,
        stdin: request.invocation.stdin(),
        limits: request.limits,
        network: request.network,
    }
}
