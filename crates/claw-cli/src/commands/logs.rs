//! `claw logs`: what a job's agent said and did.

use clap::Args;
use claw_client::{Client, LogEvent};
use claw_core::JobId;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{context::Context, error::CliError, ids, render::log::LogRenderer};

/// Lines that are asked for at once.
const PAGE: u64 = 500;

/// The flags of `claw logs`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job: its id or the last digits of it
    job: String,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of the raw log
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<u64>,
    /// Print the agent's own stream-json lines
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let id = ids::job(&client, &arguments.job).await?;
    let after = match arguments.lines {
        Some(lines) => client.job_log(id, 0, 1).await?.total.saturating_sub(lines),
        None => 0,
    };
    if arguments.follow {
        let interrupt = Interrupt::listen()?;
        return interrupt.or(id, follow(context, &client, id, after, arguments.raw)).await;
    }
    let printer = Printer::new(context, arguments.raw);
    let mut offset = after;
    loop {
        let page = client.job_log(id, offset, PAGE).await?.into_value();
        let count = page.lines.len() as u64;
        for line in &page.lines {
            printer.print(line)?;
        }
        offset += count;
        if count < PAGE {
            return Ok(());
        }
    }
}

/// Prints the log from after line `after` until the job has ended.
pub(super) async fn follow(
    context: &Context,
    client: &Client,
    id: JobId,
    after: u64,
    raw: bool,
) -> Result<(), CliError> {
    let printer = Printer::new(context, raw);
    let mut log = client.follow_log(id, after).await?;
    while let Some(event) = log.next().await? {
        match event {
            LogEvent::Line { line, .. } => printer.print(&line)?,
            LogEvent::End { .. } => break,
        }
    }
    Ok(())
}

/// Ctrl-C, from now on.
pub(super) struct Interrupt(Signal);

impl Interrupt {
    pub(super) fn listen() -> Result<Self, CliError> {
        Ok(Self(signal(SignalKind::interrupt())?))
    }

    /// Waits for a job, unless the person ends it: then says that the job does not end with it.
    pub(super) async fn or(
        mut self,
        job: JobId,
        wait: impl Future<Output = Result<(), CliError>>,
    ) -> Result<(), CliError> {
        tokio::select! {
            outcome = wait => outcome,
            _ = self.0.recv() => {
                let short = ids::short(&job.to_string()).to_owned();
                Err(CliError::interrupted(format!("no longer waiting for job {job}; it goes on"))
                    .with_hint(format!("`claw logs -f {short}` follows it, `claw cancel {short}` ends it")))
            }
        }
    }
}

/// Prints lines raw, or for people.
struct Printer<'a> {
    context: &'a Context,
    renderer: Option<LogRenderer>,
}

impl<'a> Printer<'a> {
    fn new(context: &'a Context, raw: bool) -> Self {
        let output = &context.output;
        let is_raw = raw || output.json;
        Self { context, renderer: (!is_raw).then(|| LogRenderer::new(output.stdout, output.verbose)) }
    }

    fn print(&self, line: &str) -> Result<(), CliError> {
        let output = &self.context.output;
        match &self.renderer {
            Some(renderer) => {
                if let Some(text) = renderer.render(line) {
                    output.line(text)?;
                }
            }
            // The stream may hold lines that are not JSON; a reader of `--json` must not stumble over them.
            None if output.json && !is_json(line) => {
                let text = serde_json::to_string(line).map_err(std::io::Error::other)?;
                output.json(&format!("{{\"type\":\"text\",\"text\":{text}}}"))?;
            }
            None if output.json => output.json(line)?,
            None => output.bytes(format!("{line}\n").as_bytes())?,
        }
        Ok(())
    }
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}
