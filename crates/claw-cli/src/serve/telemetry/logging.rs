//! The server's own log, on standard error.

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

use crate::{
    error::CliError,
    settings::{LogFormat, LogSettings},
};

/// Returns what writes the log.
pub(super) fn layer<S>(settings: &LogSettings) -> Result<Box<dyn Layer<S> + Send + Sync>, CliError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| {
        CliError::usage(format!("`log.filter`: `{}` is not a filter: {error}", settings.filter))
            .with_hint("expected something like `info` or `warn,claw_jobs=debug`")
    })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(match settings.format {
        LogFormat::Text => {
            layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter(filter).boxed()
        }
        LogFormat::Json => layer.json().with_filter(filter).boxed(),
    })
}
