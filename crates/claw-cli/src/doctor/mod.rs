//! The checks of `claw doctor`. They ask the real parts, change nothing, and work without a server.

mod local;
mod server;

use claw_client::ServerUrl;
use serde::Serialize;

use crate::{context::Context, error::CliError, settings::Overrides};

/// Name of the check on what jobs reach the model with.
const MODEL_CREDENTIAL: &str = "model credential";

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but something should be known.
    Warn,
    /// Does not work.
    Fail,
}

/// One check: what was looked at, what was found, and how to mend it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    #[serde(rename = "status")]
    pub(crate) verdict: Verdict,
    pub(crate) found: String,
    pub(crate) mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Runs all checks. What concerns the server's own machine is checked only when the server is meant to be here.
pub(crate) async fn run(
    context: &Context,
    url: &ServerUrl,
    flags: &Overrides,
    mut on_check: impl FnMut(&str),
) -> Result<Vec<Check>, CliError> {
    let mut checks = Vec::new();

    on_check("the server");
    let (server, client) = server::reachable(context, url).await?;
    checks.push(server);
    if let Some(client) = &client {
        on_check("the credential");
        checks.push(server::credential(context, url, client).await?);
        on_check("the work");
        checks.extend(server::work(client).await);
        if !url.is_loopback() {
            on_check("the server's Docker");
            checks.push(server::docker(client).await);
            checks.extend(server::model(client).await);
        }
    }
    if !url.is_loopback() {
        return Ok(checks);
    }

    let settings = match context.settings(flags) {
        Ok(settings) => settings,
        Err(error) => {
            let mend = "correct it; `claw config sample` prints every setting with its default";
            checks.push(Check::fail("settings", error.to_string(), mend));
            return Ok(checks);
        }
    };
    checks.push(Check::ok("settings", format!("data folder {}", settings.server.data_dir.display())));
    if client.is_none() {
        checks.push(local::port(&settings).await);
    }
    on_check("Docker");
    // A server that runs was started with settings and an environment of its own, so it is asked first.
    let of_server = match &client {
        Some(client) => Some(server::docker(client).await).filter(|check| check.verdict == Verdict::Ok),
        None => None,
    };
    match (of_server, &client) {
        (Some(docker), Some(client)) => {
            checks.push(docker);
            checks.extend(server::image(client).await);
        }
        // Only this machine says why.
        _ => checks.extend(local::docker(&settings).await),
    }
    on_check("git");
    checks.push(local::git().await);
    let of_server = match &client {
        Some(client) => server::model(client).await,
        None => None,
    };
    checks.push(of_server.unwrap_or_else(|| local::model(&settings)));
    checks.push(local::disk(&settings));
    Ok(checks)
}
