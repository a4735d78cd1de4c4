//! `claw gc`: removes what is old.

use clap::Args;

use crate::{context::Context, error::CliError, render, untrusted::clean_line};

/// The flags of `claw gc`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let output = &context.output;
    let removals = context.client()?.collect_garbage(arguments.dry_run).await?;
    output.answer(&removals, |removals| {
        let something: Vec<_> = removals.items.iter().filter(|item| item.removed > 0).collect();
        if something.is_empty() {
            return output.line("nothing is old enough to be removed");
        }
        for item in something {
            let kind = clean_line(&item.kind.replace('_', " "), 40);
            let text = match item.kind.as_str() {
                "store_bytes" => format!("{} given back to the disk", render::size(item.removed)),
                _ => format!("{} {kind}", item.removed),
            };
            output.line(if removals.dry_run { format!("would remove {text}") } else { text })?;
        }
        Ok(())
    })?;
    output.note("how long things are kept: the settings below `retention`, see `claw config sample`");
    Ok(())
}
