//! Checks of the server: is it there, does it know us.

use std::time::Duration;

use claw_client::{Client, ClientError, ServerUrl};
use claw_core::{Coded, ErrorCode};
use tokio::time::timeout;

use super::Check;
use crate::{
    commands::status::describe_login,
    context::{Context, CredentialSource},
    error::CliError,
};

/// A server that takes longer to say that it is there is not well.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks whether the server is there, and returns a client of it if it is.
pub(super) async fn reachable(
    context: &Context,
    url: &ServerUrl,
) -> Result<(Check, Option<Client>), CliError> {
    const NAME: &str = "server";
    let client = match context.client() {
        Ok(client) => client,
        Err(error) => {
            let mend = error.hint().unwrap_or("set CLAW_API_KEY to a key of this server").to_owned();
            return Ok((Check::fail(NAME, error.to_string(), mend), None));
        }
    };
    let anonymous = client.with_credential(None)?;
    let found = match timeout(LIMIT, anonymous.health()).await {
        Ok(Ok(())) => return Ok((Check::ok(NAME, format!("{url} answers")), Some(client))),
        Ok(Err(error)) => error,
        Err(_) => {
            let found = format!("{url} took longer than {} s to answer", LIMIT.as_secs());
            return Ok((Check::fail(NAME, found, "look at its log, and restart it"), None));
        }
    };
    let check = match (found.code(), url.is_loopback()) {
        (ErrorCode::ServerUnreachable, true) => {
            Check::warn(NAME, format!("nothing answers at {url}"), "start it with `claw serve`")
        }
        (ErrorCode::ServerUnreachable, false) => {
            Check::fail(NAME, found.to_string(), "check the address, the network and that the server runs")
        }
        _ => Check::fail(
            NAME,
            format!("{url} answers, but not as a ClawMachine server: {found}"),
            "something else may listen there; check the address",
        ),
    };
    Ok((check, None))
}

/// Asks whether the server knows our credential.
pub(super) async fn credential(
    context: &Context,
    url: &ServerUrl,
    client: &Client,
) -> Result<Check, CliError> {
    const NAME: &str = "credential";
    let source = match context.credential(url)? {
        None => match client.setup_status().await {
            Ok(status) if status.setup_required || !status.has_key => {
                return Ok(Check::fail(NAME, "the server is not set up yet", "run `claw setup`"));
            }
            _ => {
                let mend = "set CLAW_API_KEY to a key that an administrator made with `claw key create`";
                return Ok(Check::fail(NAME, "there is none for this server", mend));
            }
        },
        Some((_, CredentialSource::Flag)) => "the one given with --api-key",
        Some((_, CredentialSource::Variable(name))) => name,
        Some((_, CredentialSource::Stored)) => "the stored key",
    };
    Ok(match client.workers().await {
        Ok(_) => Check::ok(NAME, format!("{source} is accepted")),
        // Known to the server, whatever it may not do.
        Err(error) if error.status() == Some(403) => {
            Check::ok(NAME, format!("{source} is accepted, with few scopes"))
        }
        Err(error) => refused(NAME, source, &error),
    })
}

fn refused(name: &'static str, source: &str, error: &ClientError) -> Check {
    let mend = match error.code() {
        ErrorCode::SetupRequired => "run `claw setup`",
        ErrorCode::InvalidKey | ErrorCode::ApiKeyRequired => {
            "make a new key with `claw key create` and set CLAW_API_KEY to it"
        }
        _ => "look at the server's log",
    };
    Check::fail(name, format!("{source}: {error}"), mend)
}

/// Asks a server about its Docker.
pub(super) async fn docker(client: &Client) -> Check {
    const NAME: &str = "docker";
    match client.docker_status().await {
        Ok(status) if status.available => {
            let version = status.server_version.as_deref().unwrap_or("of unknown version");
            Check::ok(NAME, format!("the server reaches Docker {version}"))
        }
        Ok(status) => Check::fail(
            NAME,
            format!(
                "the server does not reach Docker: {}",
                status.error.as_deref().unwrap_or("no reason given")
            ),
            "run `claw doctor` on the server's machine",
        ),
        Err(error) => Check::warn(NAME, error.to_string(), "run `claw doctor` on the server's machine"),
    }
}

/// Asks the server whether it has the image that jobs run in; `None` if it does not say so.
pub(super) async fn image(client: &Client) -> Option<Check> {
    const NAME: &str = "sandbox image";
    let ready = client.status().await.ok()?.sandbox_image_ready?;
    Some(match ready {
        true => Check::ok(NAME, "the server has it"),
        false => Check::fail(
            NAME,
            "the server does not have it",
            "`scripts/run` in the project's folder builds it",
        ),
    })
}

/// Asks the server how its credential for the model API stands; `None` if it does not say so.
pub(super) async fn model(client: &Client) -> Option<Check> {
    const NAME: &str = super::MODEL_CREDENTIAL;
    if let Ok(login) = client.model_login().await {
        let found = format!("the server: {}", describe_login(&login));
        let mend = "log in with `claude` as the server's user, or start the server with ANTHROPIC_API_KEY";
        return Some(if login.serves() { Check::ok(NAME, found) } else { Check::fail(NAME, found, mend) });
    }
    let setting = client.setting("anthropic_api_key").await.ok()?;
    (!setting.value.is_empty()).then(|| Check::ok(NAME, "the server has one"))
}

/// Asks the server whether it takes new work and starts jobs; `None` if it does not say so.
pub(super) async fn work(client: &Client) -> Option<Check> {
    const NAME: &str = "work";
    let readiness = client.readiness().await.ok()?.into_value();
    if readiness.ready {
        return Some(Check::ok(NAME, "jobs are taken and started"));
    }
    let mut reasons = readiness.reasons;
    if reasons.is_empty() {
        let status = client.status().await.ok().map(claw_client::Answer::into_value);
        reasons.extend(status.and_then(|status| status.waiting_because));
    }
    if reasons.is_empty() {
        return Some(Check::fail(NAME, "no job is started", "ask an administrator of the server"));
    }
    Some(Check::fail(NAME, reasons.join("; "), "jobs wait until this is mended, and go on by themselves"))
}
