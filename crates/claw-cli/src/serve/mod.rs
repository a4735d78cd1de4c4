//! `claw serve`: builds every part, wires them, and ends them in order.

pub(crate) mod homelab;
pub(crate) mod parts;
mod prices;
mod probes;
mod signals;
mod telemetry;

use std::path::Path;

use claw_core::{Coded, ErrorCode};
use claw_gate::{FirstAdmin, SetupState};
use claw_jobs::WorkerHandle;
use claw_server::ConnectionLimits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{context::Context, error::CliError, output::Output, settings::Settings};

use self::{parts::Parts, signals::Signals, telemetry::Telemetry};

/// Runs the server until it is told to end: the first SIGTERM or SIGINT lets running jobs finish for a while, the
/// second gives them back at once.
pub(crate) async fn run(settings: Settings, context: &Context) -> Result<(), CliError> {
    let telemetry = Telemetry::start(&settings.log, &settings.telemetry)?;
    let mut signals = Signals::listen();
    // First, so that a second server over another folder leaves no traces of a start that failed.
    let listener = TcpListener::bind(settings.server.listen).await.map_err(|error| {
        CliError::new(ErrorCode::Internal, format!("cannot listen on {}: {error}", settings.server.listen))
            .with_hint("another program uses the port: end it, or choose another one with --listen")
    })?;
    let address = listener.local_addr()?;

    let (parts, worker) = Parts::build(&settings, &context.environment).await?;
    let first_admin = match (&settings.server.admin_user, &settings.server.admin_password) {
        (Some(username), Some(password)) => {
            Some(FirstAdmin { username: username.clone(), password: password.clone() })
        }
        _ => None,
    };
    let set_up = parts.gate.start(first_admin).await.map_err(failed("preparing set-up"))?;
    let stop = CancellationToken::new();
    let worker = worker.start().await.map_err(failed("starting the worker"))?;
    let usual = context.environment.expand(Path::new("~/.claw"));
    let data_dir = Some(settings.server.data_dir.as_path()).filter(|data_dir| *data_dir != usual);
    announce(&context.output, address, data_dir, &set_up)?;

    let router = claw_server::router(parts.app(&settings, address, telemetry.scrape()));
    let limits = ConnectionLimits::behind(&settings.http.trusted_proxies.0);
    let serving = tokio::spawn(claw_server::serve_within(listener, router, limits, stop.clone()));
    let gate = parts.gate.clone();
    let house_stop = stop.clone();
    let housekeeping = tokio::spawn(async move { gate.keep_house(house_stop).await });
    let (retention, retention_stop) = (parts.retention.clone(), stop.clone());
    let trimming = tokio::spawn(async move { retention.run(retention_stop).await });
    let counting = tokio::spawn(telemetry.keep(stop.clone()));
    signals.next().await;
    tracing::info!("stopping: running jobs may finish, nothing new begins");
    stop_in_order(worker, &mut signals, &stop).await;
    match serving.await {
        Ok(outcome) => outcome?,
        Err(error) => tracing::error!(%error, "the server ended badly"),
    }
    if let Err(error) = housekeeping.await {
        tracing::error!(%error, "the gate's housekeeping ended badly");
    }
    if let Err(error) = trimming.await {
        tracing::error!(%error, "the removing of what is old ended badly");
    }
    parts.close().await;
    if let Err(error) = counting.await {
        tracing::error!(%error, "the keeping of metrics ended badly");
    }
    tracing::info!("stopped");
    telemetry.close().await;
    Ok(())
}

/// The worker first: while it finishes its jobs, watchers still see what they do.
async fn stop_in_order(worker: WorkerHandle, signals: &mut Signals, stop: &CancellationToken) {
    let hurry = worker.hurry();
    let shutdown = worker.shutdown();
    tokio::pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        () = signals.next() => {
            tracing::info!("stopping at once: running jobs go back to the queue");
            hurry.cancel();
            shutdown.await;
        }
    }
    stop.cancel();
}

/// Tells on standard output where the server is, and how to finish set-up if that is left to do.
/// `data_dir` is given if it is not the usual one.
fn announce(
    output: &Output,
    address: std::net::SocketAddr,
    data_dir: Option<&Path>,
    set_up: &SetupState,
) -> Result<(), CliError> {
    output.line(format!("ClawMachine {} is listening on http://{address}", env!("CARGO_PKG_VERSION")))?;
    if let SetupState::Required { token } = set_up {
        output.line("")?;
        output.line("Nobody can get in yet. On this machine, finish set-up with")?;
        output.line(format!("    {}", setup_command(address, data_dir)))?;
        output.line("or, from elsewhere, with this one-time setup token:")?;
        // The one secret that is printed: whoever starts the server is to use it, and it is worth nothing once used.
        output.line(format!("    {}", token.expose()))?;
    }
    Ok(())
}

fn setup_command(address: std::net::SocketAddr, data_dir: Option<&Path>) -> String {
    let mut command = "claw".to_owned();
    if address != std::net::SocketAddr::from(([127, 0, 0, 1], 5179)) {
        let host =
            if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
        command += &format!(" --api-url http://{host}:{}", address.port());
    }
    command += " setup";
    if let Some(data_dir) = data_dir {
        // For a shell in whatever folder, whatever is in the name.
        let path = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        command += &format!(" --data-dir '{}'", path.display().to_string().replace('\'', r"'\''"));
    }
    command
}

/// Turns an error of a part into one that says what the server was doing.
pub(crate) fn failed<E: Coded>(doing: &'static str) -> impl FnOnce(E) -> CliError {
    move |error| CliError::new(error.code(), format!("{doing} failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_setup_names_what_is_not_as_usual() {
        let usual = "127.0.0.1:5179".parse().expect("an address");
        let other = "0.0.0.0:80".parse().expect("an address");

        assert_eq!(setup_command(usual, None), "claw setup");
        assert_eq!(
            setup_command(other, Some(Path::new("/srv/it's"))),
            r"claw --api-url http://127.0.0.1:80 setup --data-dir '/srv/it'\''s'"
        );
    }
}
