//! The server's own log, on standard error.

use tracing_subscriber::EnvFilter;

use crate::{
    error::CliError,
    settings::{LogFormat, LogSettings},
};

/// Starts logging for the whole process.
pub(super) fn start(settings: &LogSettings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| {
        CliError::usage(format!("`log.filter`: `{}` is not a filter: {error}", settings.filter))
            .with_hint("expected something like `info` or `warn,claw_jobs=debug`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| {
        CliError::new(claw_core::ErrorCode::Internal, format!("cannot start logging: {error}"))
    })
}
