//! `claw containers exec`.

use std::io::Write as _;

use clap::Args;
use claw_client::{Client, homelab::ExecRequest};
use claw_core::{Coded as _, ErrorCode};

use crate::{commands::wish, context::Context, error::CliError, untrusted::clean};

/// The flags of `claw containers exec`.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The container: its name, its id or the beginning of its id
    container: String,
    /// The program and its arguments; no shell reads them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// A variable; NAME alone takes its value from this shell; can be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = wish::variable)]
    env: Vec<wish::Variable>,
    /// User to run as, by name or number [default: the container's]
    #[arg(short, long)]
    user: Option<String>,
    /// Folder to start in [default: the container's]
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<String>,
    /// Seconds after which it is ended
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// How many bytes of its output are kept
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    max_bytes: u64,
}

pub(super) async fn run(exec: Exec, context: &Context, client: &Client) -> Result<(), CliError> {
    let request = ExecRequest {
        command: exec.command,
        working_dir: exec.workdir,
        environment: wish::variables(exec.env, context)?,
        user: exec.user,
        timeout_seconds: Some(exec.timeout),
        max_bytes: Some(exec.max_bytes),
    };
    let done = client.exec(&exec.container, &request).await.map_err(|error| match error.code() {
        ErrorCode::Conflict => {
            CliError::from(error).with_hint(format!("start it: `claw containers start {}`", exec.container))
        }
        _ => error.into(),
    })?;
    let output = &context.output;
    if output.json {
        output.json(done.json())?;
    } else {
        output.bytes(done.stdout.as_bytes())?;
        // What went wrong with standard error could be told nobody.
        let _ = std::io::stderr().lock().write_all(clean(&done.stderr).as_bytes());
    }
    if done.truncated {
        output.warn(format!(
            "only the first {} bytes of its output are shown; --max-bytes shows more",
            exec.max_bytes
        ));
    }
    if done.left_running {
        output.warn("it could not be ended and goes on; it ends with its container at the latest");
    }
    match done.exit_code {
        Some(0) => Ok(()),
        Some(code) => Err(CliError::exited(code)),
        None if done.timed_out => {
            let message = format!("it did not end within {} s", exec.timeout);
            Err(CliError::new(ErrorCode::WaitTimedOut, message)
                .with_hint("--timeout gives it longer, 600 at most"))
        }
        None => Err(CliError::new(ErrorCode::Conflict, "it wrote without end, and was ended")),
    }
}
