//! `claw health`: whether the server answers. For health checks of containers and services: quick, and needs no key.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use claw_client::{Client, ServerUrl};
use claw_core::ErrorCode;
use serde_json::json;
use tokio::time::timeout;

use crate::{context::Context, error::CliError, settings::Overrides};

/// A server that takes longer is not well.
const LIMIT: Duration = Duration::from_secs(4);

/// The arguments of `claw health`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let url = server(context)?;
    let client = Client::new(url.clone(), None)?;
    match timeout(LIMIT, client.health()).await {
        Ok(answer) => answer?,
        Err(_) => {
            let text = format!("{url} took longer than {} s to answer", LIMIT.as_secs());
            return Err(CliError::new(ErrorCode::ServerUnreachable, text));
        }
    }
    context.output.done(&json!({ "status": "ok" }), format!("{url} answers"))
}

/// Returns the server that was named, or else the one that the settings of this machine describe.
fn server(context: &Context) -> Result<ServerUrl, CliError> {
    if context.globals.api_url.is_some() || context.environment.get("CLAW_API_URL").is_some() {
        return context.server();
    }
    let listen = context.settings(&Overrides::default())?.server.listen;
    let address = match (listen.ip().is_unspecified(), listen) {
        (true, SocketAddr::V4(_)) => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        (true, SocketAddr::V6(_)) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.port())),
        (false, _) => listen,
    };
    let text = format!("http://{address}");
    text.parse().map_err(|error| CliError::usage(format!("{text}: {error}")))
}
