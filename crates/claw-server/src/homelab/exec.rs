//! Running programs in containers.

use std::collections::BTreeMap;

use axum::extract::State;
use claw_homelab::{ExecOutcome, Homelab};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::Envelope;
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Name, RawJson},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(exec_in_container))
}

/// A program to run. Members are read strictly, and there are no others.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `claw_homelab` reads")]
struct ExecBody {
    /// The program and its arguments. No shell reads them.
    #[schema(example = json!(["ls", "-l", "/config"]))]
    command: Vec<String>,
    /// Folder to start in; the container's own if left out.
    working_dir: Option<String>,
    /// Variables beside the container's own.
    environment: Option<BTreeMap<String, String>>,
    /// User and group to run as, by name or number; the container's own if left out.
    user: Option<String>,
    /// After which it is ended.
    #[schema(minimum = 1, maximum = 600, default = 30)]
    timeout_seconds: Option<u64>,
    /// How much of its output is kept, in bytes, both outputs together.
    #[schema(minimum = 0, maximum = 1_048_576, default = 65_536)]
    max_bytes: Option<u64>,
}

/// What a program came to.
#[derive(Serialize, ToSchema)]
struct ExecView {
    /// Its exit code; null if it did not end by itself. 126 and 127: it could not be started, and the output says why.
    exit_code: Option<i64>,
    /// The beginning of its standard output.
    stdout: String,
    /// The beginning of its standard error.
    stderr: String,
    /// Whether it wrote more than was kept. One that writes many times as much is ended.
    truncated: bool,
    /// Whether its time was up.
    timed_out: bool,
    /// Whether it could not be ended, and goes on within the limits of its container.
    left_running: bool,
}

impl From<ExecOutcome> for ExecView {
    fn from(outcome: ExecOutcome) -> Self {
        let ExecOutcome { exit_code, stdout, stderr, truncated, timed_out, left_running } = outcome;
        Self { exit_code, stdout, stderr, truncated, timed_out, left_running }
    }
}

/// Run a program in a container
///
/// Answers when it has ended, and ends it when its time is up or the caller hangs up. Whoever runs programs in a container
/// has what the container has, so nothing is run in one that the policy would not let anybody make, whoever made it. What
/// an app of the marketplace has beyond the policy is for administrators alone. Output is untrusted: secrets of the
/// container's variables and sequences that steer a terminal are left out of it.
#[utoipa::path(
    post, path = "/api/containers/{id}/exec", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    request_body = ExecBody,
    responses(
        (status = 200, description = "What it came to.", body = Envelope<ExecView>),
        (status = 400, description = "`INVALID_REQUEST`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `POLICY_REFUSED` with the rule, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: the container does not run."),
        (status = 429, description = "`RATE_LIMITED`: too many programs are being run."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:exec"))),
)]
async fn exec_in_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
    RawJson(body): RawJson,
) -> ApiResult<Envelope<ExecView>> {
    Ok(Envelope::of(homelab.containers.exec(&caller, &container, &body).await?.into()))
}
