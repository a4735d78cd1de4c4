//! `claw containers`: containers of the server's machine.

mod create;
mod exec;

use clap::{Args, Subcommand};
use claw_client::{
    Client,
    homelab::{Container, ContainerLogs, ContainerPort, ContainerStats},
};
use claw_core::{Clock as _, Coded as _, ErrorCode, SystemClock, Timestamp};
use owo_colors::Style;

use super::key::duration;
use crate::{
    context::Context,
    error::CliError,
    output::Output,
    prompt,
    render::{self, table::Table},
    untrusted::{clean, clean_line},
};

/// The commands of `claw containers`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List containers, running or not
    List,
    /// Show what a container wrote
    Logs {
        #[command(flatten)]
        which: Which,
        /// So many of the newest lines
        #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1000))]
        tail: u32,
        /// Not older than this: a time such as 2026-12-31T12:00:00Z, or ago, such as 10m or 2h
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Timestamp>,
        /// Begin each line with its time
        #[arg(short, long)]
        timestamps: bool,
    },
    /// Show what a container uses now
    Stats(Which),
    /// Make and start a container
    Create(create::Create),
    /// Start a container
    Start(Which),
    /// Stop a container
    Stop(Which),
    /// Stop a container and start it again
    Restart(Which),
    /// Stop and remove a container; its volumes stay
    Delete {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Run a program in a container, and end as it does
    Exec(exec::Exec),
}

#[derive(Debug, Args)]
struct Which {
    /// The container: its name, its id or the beginning of its id
    container: String,
}

/// Reads a moment: a time, or how long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let expected = || "expected a time such as 2026-12-31T12:00:00Z, or 10m, 2h or 1d ago".to_owned();
    let ago = duration(text).map_err(|_| expected())?;
    let then =
        SystemClock.now().as_second().checked_sub(i64::try_from(ago.as_secs()).map_err(|_| expected())?);
    then.and_then(|then| Timestamp::from_second(then).ok()).ok_or_else(expected)
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let done = match arguments.action {
        Action::List => list(context, &client).await,
        Action::Logs { which, tail, since, timestamps } => {
            let part = ContainerLogs { tail: Some(tail), since, until: None, timestamps };
            logs(context, &client, &which.container, &part).await
        }
        Action::Stats(which) => stats(context, &client, &which.container).await,
        Action::Create(create) => return create::run(create, context, &client).await,
        Action::Start(which) => start(context, &client, &which.container).await,
        Action::Stop(which) => stop(context, &client, &which.container).await,
        Action::Restart(which) => restart(context, &client, &which.container).await,
        Action::Delete { which, yes } => delete(context, &client, &which.container, yes).await,
        Action::Exec(exec) => exec::run(exec, context, &client).await,
    };
    done.map_err(with_next_step)
}

/// Names the next step for what the server does not find or permit.
fn with_next_step(error: CliError) -> CliError {
    match error.code() {
        ErrorCode::NotFound => error.with_hint("`claw containers list` shows the containers"),
        _ => error,
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), CliError> {
    let containers = client.containers().await?;
    let output = &context.output;
    output.answer(&containers, |containers| print(output, containers))
}

fn print(output: &Output, containers: &[Container]) -> std::io::Result<()> {
    let mut table = Table::new(["ID", "NAME", "IMAGE", "STATUS", "PORTS"]);
    for container in containers {
        let digits = if output.verbose { 64 } else { 12 };
        let status = match container.health.as_deref() {
            Some(health) if !container.status.contains(health) => format!("{} ({health})", container.status),
            _ => container.status.clone(),
        };
        table.row([
            clean_line(&container.id, 64).chars().take(digits).collect(),
            clean_line(&container.name, 60),
            clean_line(&container.image, 60),
            clean_line(&status, 60),
            clean_line(&ports(&container.ports), 200),
        ]);
        let style = match (container.state.as_str(), container.health.as_deref()) {
            ("running", Some("unhealthy")) => Style::new().red(),
            ("running", _) => Style::new().green(),
            ("dead" | "restarting", _) => Style::new().red(),
            _ => Style::new().yellow(),
        };
        table.style(3, style);
    }
    table.print(output)?;
    if containers.is_empty() {
        output.note(
            "no containers; `claw containers create IMAGE` makes one, `claw apps list` shows ready apps",
        );
    }
    Ok(())
}

/// Writes ports as Docker does: `8080->80/tcp`, each once though it is published on several addresses.
fn ports(ports: &[ContainerPort]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for port in ports {
        let text = match port.public {
            Some(public) => format!("{public}->{}/{}", port.private, port.protocol),
            None => format!("{}/{}", port.private, port.protocol),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(", ")
}

async fn logs(
    context: &Context,
    client: &Client,
    container: &str,
    part: &ContainerLogs,
) -> Result<(), CliError> {
    let logs = client.container_logs(container, part).await?;
    let output = &context.output;
    output.answer(&logs, |text| output.bytes(clean(&with_end(text)).as_bytes()))
}

/// Ends the last line, so that a prompt does not stand behind it.
pub(super) fn with_end(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

async fn stats(context: &Context, client: &Client, container: &str) -> Result<(), CliError> {
    let stats = client.container_stats(container).await?;
    let output = &context.output;
    output.answer(&stats, |stats| {
        facts(stats).into_iter().try_for_each(|(name, value)| output.line(format!("{name:<10} {value}")))
    })
}

fn facts(stats: &ContainerStats) -> [(&'static str, String); 5] {
    let pair = |one, other| format!("{} in, {} out", render::size(one), render::size(other));
    let memory = (stats.memory_bytes, stats.memory_limit_bytes);
    [
        ("cpu", format!("{:.1} %", stats.cpu_percent)),
        (
            "memory",
            format!(
                "{} of {} ({:.1} %)",
                render::size(memory.0),
                render::size(memory.1),
                stats.memory_percent
            ),
        ),
        ("network", pair(stats.network_received_bytes, stats.network_sent_bytes)),
        (
            "disk",
            format!(
                "{} read, {} written",
                render::size(stats.disk_read_bytes),
                render::size(stats.disk_written_bytes)
            ),
        ),
        ("processes", stats.pids.to_string()),
    ]
}

async fn start(context: &Context, client: &Client, container: &str) -> Result<(), CliError> {
    let _spinner = context.output.spinner(format!("starting {}", clean_line(container, 60)));
    let done = client.start_container(container).await?;
    told(context, done.json(), container, "started")
}

async fn stop(context: &Context, client: &Client, container: &str) -> Result<(), CliError> {
    let _spinner = context.output.spinner(format!("stopping {}", clean_line(container, 60)));
    let done = client.stop_container(container).await?;
    told(context, done.json(), container, "stopped")
}

async fn restart(context: &Context, client: &Client, container: &str) -> Result<(), CliError> {
    let _spinner = context.output.spinner(format!("restarting {}", clean_line(container, 60)));
    let done = client.restart_container(container).await?;
    told(context, done.json(), container, "restarted")
}

async fn delete(context: &Context, client: &Client, container: &str, yes: bool) -> Result<(), CliError> {
    let question = format!("Stop and remove the container {}? Its volumes stay.", clean_line(container, 60));
    prompt::confirm(&context.output, yes, &question)?;
    let _spinner = context.output.spinner(format!("removing {}", clean_line(container, 60)));
    let done = client.delete_container(container).await?;
    told(context, done.json(), container, "deleted; its volumes stay")
}

/// Reports what was done.
fn told(context: &Context, json: &str, container: &str, done: &str) -> Result<(), CliError> {
    match context.output.json {
        true => context.output.json(json)?,
        false => context.output.line(format!("{} {done}", clean_line(container, 60)))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_two_addresses_is_shown_once() {
        let port = |public, address: &str| ContainerPort {
            private: 80,
            public,
            protocol: "tcp".into(),
            address: Some(address.into()),
        };

        assert_eq!(ports(&[port(Some(8080), "0.0.0.0"), port(Some(8080), "::")]), "8080->80/tcp");
        assert_eq!(ports(&[port(None, "")]), "80/tcp");
        assert_eq!(ports(&[]), "");
    }

    #[test]
    fn moments_are_times_or_ago() {
        assert!(moment("2026-01-01T00:00:00Z").is_ok());
        let ago = moment("1h").expect("an hour ago");
        assert!((3599..=3660).contains(&(SystemClock.now().as_second() - ago.as_second())));
        assert!(moment("yesterday").is_err() && moment("").is_err());
    }
}
