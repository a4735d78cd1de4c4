//! The binary `claw`: the client commands of ClawMachine, and the settings of its server.
//!
//! Each command is one file under `commands/`. Data goes to standard output, everything else to standard error; the
//! exit code is 0 for success, 1 for a failure, 2 for something that does not exist, 3 for the wrong state, 4 for a
//! wait that timed out, 64 for a command line or setting that cannot be used, and 130 for a wait ended with Ctrl-C.

mod cli;
mod commands;
mod context;
mod credentials;
mod doctor;
mod error;
mod ids;
mod import;
mod output;
mod prompt;
mod render;
mod serve;
mod settings;
mod untrusted;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    context::Context,
    error::{CliError, EXIT_USAGE},
    output::Output,
    settings::Environment,
};

/// Half as many tool calls again and up to a fifth more submits a second than with the system's allocator, and less
/// memory after them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let environment = Environment::capture();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    let output = Output::new(&cli.globals, &environment);
    let outcome = run(cli, output, environment);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough (`claw list | head`).
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli, output: Output, environment: Environment) -> Result<(), CliError> {
    let mut builder = match cli.command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let context = Context::new(cli.globals, output, environment);
    let outcome = runtime.block_on(cli.command.run(&context));
    // A read of standard input may still sit in a blocking thread; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// Prints help and versions to standard output and real mistakes to standard error.
fn report_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to tell if this fails.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let message =
            text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim().to_owned();
        output::print_json_error(&CliError::usage(message));
    } else {
        let _ = error.print();
    }
    ExitCode::from(EXIT_USAGE)
}
