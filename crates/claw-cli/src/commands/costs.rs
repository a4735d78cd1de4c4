//! `claw costs`: what jobs cost.

use clap::{Args, ValueEnum};
use claw_client::{Spending, SpendingQuery};
use jiff::civil::Date;

use crate::{
    context::Context,
    error::CliError,
    ids,
    output::Output,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The flags of `claw costs`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to sum up by
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// First day (UTC), such as 2026-03-01; thirty days up to today if left out
    #[arg(long, value_name = "DAY")]
    from: Option<Date>,
    /// Last day (UTC); today if left out
    #[arg(long, value_name = "DAY")]
    to: Option<Date>,
    /// Of this owner alone, for administrators: a key's label or id, a user's name, key:ID, user:NAME or token
    #[arg(long)]
    owner: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum By {
    #[default]
    Day,
    Workspace,
    Model,
    Key,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Workspace => "workspace",
            Self::Model => "model",
            Self::Key => "key",
        }
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let owner = match &arguments.owner {
        Some(owner) => Some(ids::mark(&client, owner).await?),
        None => None,
    };
    let query = SpendingQuery {
        from: arguments.from.map(|day| day.to_string()),
        to: arguments.to.map(|day| day.to_string()),
        group_by: Some(arguments.by.as_str().to_owned()),
        owner,
    };
    let spending = client.spending(&query).await?;
    let output = &context.output;
    output.answer(&spending, |spending| print(output, arguments.by, spending))
}

fn print(output: &Output, by: By, spending: &Spending) -> std::io::Result<()> {
    let heading = match by {
        By::Day => "DAY",
        By::Workspace => "WORKSPACE",
        By::Model => "MODEL",
        By::Key => "OWNER",
    };
    let mut table = Table::new([heading, "RUNS", "TURNS", "READ", "WRITTEN", "CACHED", "COST"]);
    for row in &spending.items {
        let key = if row.key.is_empty() { "-" } else { &row.key };
        table.row([
            clean_line(key, 60),
            row.runs.to_string(),
            row.turns.to_string(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            (row.cache_read_tokens + row.cache_write_tokens).to_string(),
            render::cost(row.cost_usd),
        ]);
    }
    if !spending.items.is_empty() {
        table.print(output)?;
    }
    output.note(format!(
        "{} in all from {} to {} (UTC); READ, WRITTEN and CACHED are tokens",
        render::cost(spending.total_usd),
        clean_line(&spending.from, 20),
        clean_line(&spending.to, 20)
    ));
    Ok(())
}
