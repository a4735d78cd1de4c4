//! The first look at the hosts: are they there, and do they know the keys?

use std::{sync::Arc, time::Duration};

use claw_client::{Client, ClientError, Credential, KeyMeta};
use claw_core::{Coded as _, ErrorCode};
use claw_mcp::{Failure, Host, Hosts};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{
    Problem,
    log::Log,
    settings::{HostSettings, Settings},
};

/// How long many hosts may take before those that answered are served without the others.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks every host about its key.
///
/// # Errors
///
/// With one host, what is wrong with it. Of many hosts each may come later, so that only an address that can never be
/// one is an error.
pub(crate) async fn hosts(settings: &Settings, log: &Log) -> Result<Hosts, Problem> {
    let mut hosts = Vec::new();
    for host in &settings.hosts {
        hosts.push(build(host).map_err(|error| failed(host, &error))?);
    }
    if !settings.named {
        let hosts = match hosts.pop() {
            Some(host) => Hosts::single(host),
            None => return Err(Problem::Words("Error: there is no host".into())),
        };
        if let (Some(host), Some(settings)) = (hosts.iter().next(), settings.hosts.first()) {
            let meta = host.refresh().await.map_err(|error| failed(settings, &error))?;
            log.line(format_args!("API key: {}", known(&meta)));
        }
        return Ok(hosts);
    }
    let hosts = Hosts::many(hosts);
    let mut asked: FuturesUnordered<_> = hosts
        .iter()
        .zip(&settings.hosts)
        .map(|(host, settings)| async move {
            match host.refresh().await {
                Ok(meta) => log.line(format_args!("Instance {}: {}", shown(host), known(&meta))),
                Err(error) => log.line(format_args!(
                    "Instance {}: {}; it is asked again",
                    shown(host),
                    failed(settings, &error).to_string().trim_start_matches("Error: ")
                )),
            }
        })
        .collect();
    if timeout(PATIENCE, async { while asked.next().await.is_some() {} }).await.is_err() {
        log.line("Not every instance has answered yet; those that did not are asked again");
    }
    drop(asked);
    Ok(hosts)
}

fn build(host: &HostSettings) -> Result<Host, ClientError> {
    let address = host.url.parse().map_err(|error: claw_client::ServerUrlError| {
        ClientError::new(ErrorCode::InvalidRequest, error.to_string())
    })?;
    let client = Client::new(address, Some(Credential::new(host.key.expose())))?;
    Ok(Host::new(&host.name, &host.label, client))
}

fn shown(host: &Arc<Host>) -> String {
    format!("{} ({})", host.name(), host.label())
}

fn known(meta: &KeyMeta) -> String {
    format!("{} (scopes: {})", meta.key_prefix, meta.scopes.join(", "))
}

/// The words of the original.
fn failed(host: &HostSettings, error: &ClientError) -> Problem {
    if error.code() == ErrorCode::InvalidKey && error.status().is_none() {
        return Problem::Words(match host.name.as_str() {
            "" => "Error: API key not recognized by WAGMIOS".into(),
            name => format!("Error: API key not recognized for {name}"),
        });
    }
    let deed = match host.name.as_str() {
        "" => "check API key status".into(),
        name => format!("check API key for {name}"),
    };
    let failure = Failure::of(&deed, error);
    Problem::Words(format!("Error: {}", failure.text.trim_start_matches("Failed to ")))
}
