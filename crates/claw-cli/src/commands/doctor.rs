//! `claw doctor`: what is wrong here, and how to mend it.

use clap::Args;
use claw_core::ErrorCode;
use owo_colors::Style;

use super::serve::SettingFlags;
use crate::{
    context::Context,
    doctor::{self, Check, Verdict},
    error::CliError,
    output::Output,
    untrusted::clean_line,
};

/// The flags of `claw doctor`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let output = &context.output;
    let checks = {
        let spinner = output.spinner("looking");
        let server = arguments.settings.server(context)?;
        doctor::run(context, &server, &arguments.settings.overrides()?, |name| {
            spinner.message(format!("looking at {name}"))
        })
        .await?
    };
    print(output, &checks)?;
    match checks.iter().filter(|check| check.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        1 => Err(CliError::new(ErrorCode::Internal, "1 check failed")),
        count => Err(CliError::new(ErrorCode::Internal, format!("{count} checks failed"))),
    }
}

fn print(output: &Output, checks: &[Check]) -> Result<(), CliError> {
    if output.json {
        let json =
            serde_json::to_string(&serde_json::json!({ "checks": checks })).map_err(std::io::Error::other)?;
        return Ok(output.json(&json)?);
    }
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        if output.quiet && check.verdict == Verdict::Ok {
            continue;
        }
        let (style, word) = match check.verdict {
            Verdict::Ok => (Style::new().green(), "ok  "),
            Verdict::Warn => (Style::new().yellow(), "warn"),
            Verdict::Fail => (Style::new().red(), "fail"),
        };
        let word = output.stdout.paint(style, word);
        output.line(format!("{word}  {:width$}  {}", check.name, clean_line(&check.found, 500)))?;
        if let Some(mend) = &check.mend {
            output.line(format!("{:indent$}→ {}", "", clean_line(mend, 500), indent = width + 8))?;
        }
    }
    Ok(())
}
