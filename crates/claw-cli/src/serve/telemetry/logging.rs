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
    let filter = filter(&settings.filter)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(match settings.format {
        LogFormat::Text => {
            layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter(filter).boxed()
        }
        LogFormat::Json => layer.json().with_filter(filter).boxed(),
    })
}

/// What the MCP library says: whole messages of clients with what secrets are in them, and lines about each call.
const UNHEARD: &str = "rmcp";

fn filter(wanted: &str) -> Result<EnvFilter, CliError> {
    let is_heard = wanted.contains(UNHEARD);
    let directives = if is_heard { wanted.to_owned() } else { format!("{wanted},{UNHEARD}=off") };
    EnvFilter::try_new(directives).map_err(|error| {
        CliError::usage(format!("`log.filter`: `{wanted}` is not a filter: {error}"))
            .with_hint("expected something like `info` or `warn,claw_jobs=debug`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_messages_of_mcp_clients_are_logged_for_nobody_who_does_not_ask_for_them_by_name() {
        let shown = |wanted: &str| filter(wanted).expect("a filter").to_string();

        assert!(shown("trace").contains("rmcp=off"));
        assert!(shown("").contains("rmcp=off"));
        assert!(shown("warn,rmcp=debug").contains("rmcp=debug"));
        assert!(filter("claw=loud").is_err());
    }
}
