//! The program: what it is told, what it says, and how it ends.
//!
//! Flags, variables, messages and exit codes are those of the original, for the configurations that people have.

mod config_file;
mod config_for;
mod flags;
mod log;
mod serve;
mod settings;
mod start;

use std::{io::Write as _, process::ExitCode};

use self::{
    log::Log,
    settings::{Settings, Told, VERSION},
};

/// What ends the program before its time.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// The command line is wrong; what is said is followed by the usage.
    #[error("{0}")]
    Usage(String),
    /// Something else, in the words of the original.
    #[error("{0}")]
    Words(String),
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_else(|| "clawmachine".into());
    let arguments: Vec<_> = arguments.collect();
    let result = match arguments.first().map(String::as_str) {
        Some("config") => configuration_for(arguments.get(1).map(String::as_str)),
        _ => run(&program, &arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Usage(problem)) => {
            say(&format!("{problem}\n{}", flags::usage(&program)));
            ExitCode::from(2)
        }
        Err(Problem::Words(problem)) => {
            say(&problem);
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str, arguments: &[String]) -> Result<(), Problem> {
    let settings = match settings::read(arguments)? {
        Told::Help => {
            say(&flags::usage(program));
            return Ok(());
        }
        Told::Version => return print(&format!("{VERSION}\n")),
        Told::Settings(settings) => settings,
    };
    let runtime = runtime(&settings).map_err(|error| Problem::Words(format!("Error: {error}")))?;
    let log = Log::new(settings.secrets());
    let served = runtime.block_on(async {
        let hosts = start::hosts(&settings, &log).await?;
        serve::serve(settings, hosts, &log).await
    });
    // A read of standard input may wait for ever; nothing else does.
    runtime.shutdown_background();
    served.map_err(|problem| match problem {
        Problem::Words(words) => Problem::Words(log.safe(&words)),
        usage => usage,
    })
}

/// One client needs one thread: a second one costs time at the start, and memory.
fn runtime(settings: &Settings) -> std::io::Result<tokio::runtime::Runtime> {
    match settings.listens() {
        false => tokio::runtime::Builder::new_current_thread(),
        true => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}

/// Prints how a client is told about this program.
fn configuration_for(client: Option<&str>) -> Result<(), Problem> {
    match client.and_then(config_for::config_for) {
        Some(text) => print(text),
        None => {
            let clients: Vec<_> = config_for::clients().collect();
            let unknown =
                client.map(|client| format!("Error: unknown client: {client}\n")).unwrap_or_default();
            Err(Problem::Words(format!(
                "{unknown}Usage: clawmachine config <client>\nClients: {}",
                clients.join(", ")
            )))
        }
    }
}

fn print(text: &str) -> Result<(), Problem> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads only the beginning has what they want.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::Words(format!("Error: write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn say(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}
