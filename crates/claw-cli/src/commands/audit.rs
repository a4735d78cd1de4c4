//! `claw audit`: who did what, and what was refused.

use std::{
    fs::OpenOptions,
    io::{BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use claw_client::{AuditEntry, AuditQuery, AuditVerification, Client};
use claw_core::{ErrorCode, Timestamp};
use claw_gate::verify_export;
use owo_colors::Style;
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    ids,
    output::Output,
    render::{self, csv, table::Table},
    untrusted::clean_line,
};

/// The commands of `claw audit`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List entries, newest first
    List(ListArguments),
    /// Write all records with their hashes as JSON lines, or entries for a spreadsheet
    Export(ExportArguments),
    /// Check that nothing was changed; exits with 3 if something was
    Verify {
        /// An export to check, without a server
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A hash of the newest record that was noted earlier; the trail must still contain it (with --file)
        #[arg(long, value_name = "HASH", requires = "file")]
        head: Option<String>,
    },
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// All records with their hashes, which `claw audit verify --file` checks anywhere.
    Jsonl,
    /// One line for each entry with its outcome, newest first.
    Csv,
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// File to write, which must not exist; standard output if left out
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// `jsonl`: all records with their hashes; `csv`: one line for each entry with its outcome, newest first
    #[arg(long, value_enum, default_value_t = Format::Jsonl, hide_possible_values = true)]
    format: Format,
    /// Only those after this record
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    #[command(flatten)]
    filter: FilterArguments,
}

#[derive(Debug, Args)]
struct FilterArguments {
    /// By this actor: a key's label or id, a user's name, key:ID, user:NAME or token
    #[arg(long)]
    actor: Option<String>,
    /// Whose verb begins so, such as `job.` or `key.create`
    #[arg(long)]
    verb: Option<String>,
    /// Whose target begins so, such as job:ID or workspace:NAME
    #[arg(long)]
    target: Option<String>,
    /// That ended so
    #[arg(long, value_parser = claw_gate::AuditResult::NAMES)]
    outcome: Option<String>,
    /// Not older than this time, such as 2026-03-20T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Not newer than this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl FilterArguments {
    fn is_empty(&self) -> bool {
        let Self { actor, verb, target, outcome, since, until } = self;
        [actor, verb, target, outcome].iter().all(|text| text.is_none()) && since.is_none() && until.is_none()
    }

    async fn query(
        &self,
        client: &Client,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditQuery, CliError> {
        let actor = match &self.actor {
            Some(actor) => Some(ids::mark(client, actor).await?),
            None => None,
        };
        let target = match &self.target {
            Some(target) => Some(ids::target(client, target).await?),
            None => None,
        };
        Ok(AuditQuery {
            before,
            since: self.since,
            until: self.until,
            actor,
            verb: self.verb.clone(),
            target,
            outcome: self.outcome.clone(),
            limit: Some(limit),
        })
    }
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// From before this entry on
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// How many entries
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    match arguments.action {
        Action::List(arguments) => list(arguments, context).await,
        Action::Export(arguments) => export(arguments, context).await,
        Action::Verify { file: Some(file), head } => verify_file(&file, head.as_deref(), &context.output),
        Action::Verify { file: None, .. } => {
            let found = context.client()?.audit_verify().await?;
            let output = &context.output;
            output.answer(&found, |found| print_verification(output, found))?;
            judge(found.broken_at)
        }
    }
}

async fn list(arguments: ListArguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let query = arguments.filter.query(&client, arguments.before, arguments.limit.into()).await?;
    let page = client.audit(&query).await?;
    let output = &context.output;
    output.answer(&page, |page| print_entries(output, &page.items))?;
    if let Some(next) = page.next {
        output.note(format!("older ones: claw audit list --before {next}"));
    }
    Ok(())
}

fn print_entries(output: &Output, entries: &[AuditEntry]) -> std::io::Result<()> {
    let mut table = Table::new(["NUMBER", "TIME", "WHO", "WHAT", "TO WHAT", "OUTCOME"]);
    for entry in entries {
        let who = if entry.label.is_empty() { &entry.actor } else { &entry.label };
        let who = match (who.as_str(), entry.client.as_deref()) {
            ("", Some(client)) => format!("someone at {client}"),
            (who, _) => who.to_owned(),
        };
        let mut outcome = match &entry.code {
            Some(code) => format!("{} {code}", entry.outcome),
            None => entry.outcome.clone(),
        };
        if entry.more > 0 {
            outcome.push_str(&format!(" (and {} more)", entry.more));
        }
        let target = match (&entry.detail, entry.outcome.as_str()) {
            (Some(serde_json::Value::String(text)), "note") => text,
            _ => &entry.target,
        };
        table.row([
            entry.seq.to_string(),
            render::time(entry.at),
            clean_line(who.as_str(), 40),
            clean_line(&entry.verb, 30),
            clean_line(target, if output.verbose { 200 } else { 60 }),
            clean_line(&outcome, 80),
        ]);
        match entry.outcome.as_str() {
            "denied" | "failed" => table.style(5, Style::new().red()),
            "unknown" | "abandoned" => table.style(5, Style::new().yellow()),
            _ => {}
        }
    }
    table.print(output)
}

async fn export(arguments: ExportArguments, context: &Context) -> Result<(), CliError> {
    let ExportArguments { file, format, after, filter } = arguments;
    if format == Format::Jsonl && !filter.is_empty() {
        return Err(CliError::usage(
            "JSON lines hold every record, or their hashes could not be checked: use --format csv to choose some",
        ));
    }
    let mut sink: Box<dyn Write> = match &file {
        // For its owner alone: it tells who works here, from where, and on what.
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Box::new(BufWriter::new(made.map_err(|error| {
                CliError::new(ErrorCode::InvalidRequest, format!("cannot make {}: {error}", path.display()))
            })?))
        }
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    let watched = file.is_some() && context.output.stderr.is_terminal && !context.output.quiet;
    let progress = move |records: usize| {
        if watched {
            eprint!("\r{records} records");
        }
    };
    let client = context.client()?;
    let records = match format {
        Format::Jsonl => export_records(&client, after, sink.as_mut(), progress).await?,
        Format::Csv => export_entries(&client, after, &filter, sink.as_mut(), progress).await?,
    };
    sink.flush()?;
    if watched {
        eprintln!();
    }
    if let Some(path) = file {
        context.output.note(format!("{records} records written to {}", path.display()));
    }
    Ok(())
}

async fn export_records(
    client: &Client,
    after: Option<u64>,
    sink: &mut dyn Write,
    progress: impl Fn(usize),
) -> Result<usize, CliError> {
    let mut download = client.audit_export(after).await?;
    let mut lines = 0_usize;
    while let Some(chunk) = download.chunk().await? {
        sink.write_all(&chunk)?;
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        progress(lines);
    }
    // The first line tells where the chain begins.
    Ok(lines.saturating_sub(1))
}

/// The columns of an export for spreadsheets.
const COLUMNS: [&str; 13] = [
    "number",
    "time",
    "actor",
    "label",
    "verb",
    "target",
    "outcome",
    "code",
    "settled_at",
    "more",
    "client",
    "request_id",
    "detail",
];

/// Entries that are asked for at once.
const PAGE: usize = 1_000;

async fn export_entries(
    client: &Client,
    after: Option<u64>,
    filter: &FilterArguments,
    sink: &mut dyn Write,
    progress: impl Fn(usize),
) -> Result<usize, CliError> {
    sink.write_all(csv::line(COLUMNS).as_bytes())?;
    let mut written = 0_usize;
    let mut query = filter.query(client, None, PAGE).await?;
    loop {
        let page = client.audit(&query).await?;
        for entry in &page.items {
            if after.is_some_and(|after| entry.seq <= after) {
                return Ok(written);
            }
            sink.write_all(entry_line(entry).as_bytes())?;
            written += 1;
        }
        progress(written);
        query.before = match page.next {
            // A server that does not get on would keep us here for ever.
            Some(next) if query.before.is_none_or(|before| next < before) => Some(next),
            Some(_) | None => return Ok(written),
        };
    }
}

fn entry_line(entry: &AuditEntry) -> String {
    let number = entry.seq.to_string();
    let time = entry.at.to_string();
    let settled_at = entry.settled_at.map(|at| at.to_string()).unwrap_or_default();
    let more = entry.more.to_string();
    let detail = entry.detail.as_ref().map(ToString::to_string).unwrap_or_default();
    let cells = [
        number.as_str(),
        &time,
        &entry.actor,
        &entry.label,
        &entry.verb,
        &entry.target,
        &entry.outcome,
        entry.code.as_deref().unwrap_or_default(),
        &settled_at,
        &more,
        entry.client.as_deref().unwrap_or_default(),
        entry.request_id.as_deref().unwrap_or_default(),
        &detail,
    ];
    csv::line(cells)
}

fn verify_file(path: &Path, head: Option<&str>, output: &Output) -> Result<(), CliError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::new(ErrorCode::InvalidRequest, format!("cannot verify {}: {error}", path.display()))
            .with_hint("`claw audit export --file FILE` makes such a file")
    };
    let text = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let found = verify_export(BufReader::new(text)).map_err(|error| wrong(&error))?;
    let found = AuditVerification {
        ok: found.broken_at.is_none(),
        first: found.first,
        last: found.last,
        broken_at: found.broken_at,
        head: found.head.to_string(),
    };
    if output.json {
        let AuditVerification { ok, first, last, broken_at, head } = &found;
        output.json(
            &json!({ "ok": ok, "first": first, "last": last, "broken_at": broken_at, "head": head })
                .to_string(),
        )?;
    } else {
        print_verification(output, &found)?;
    }
    judge(found.broken_at)?;
    match head {
        Some(head) if !holds_hash(path, head)? => Err(CliError::new(
            ErrorCode::Conflict,
            "the trail does not contain the noted hash: it was cut off or written anew since",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Tells whether the export has a record with this hash.
fn holds_hash(path: &Path, hash: &str) -> Result<bool, CliError> {
    use std::io::BufRead as _;
    let wanted = hash.trim().to_ascii_lowercase();
    for line in BufReader::new(std::fs::File::open(path)?).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        if [&line["hash"], &line["before"]].iter().any(|found| found.as_str() == Some(wanted.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn print_verification(output: &Output, found: &AuditVerification) -> std::io::Result<()> {
    match found.broken_at {
        None if found.last < found.first => output.line("the trail is empty"),
        None => output.line(format!(
            "records {} to {} are as they were written; the newest has the hash\n{}",
            found.first,
            found.last,
            clean_line(&found.head, 64)
        )),
        Some(seq) => output.line(format!(
            "record {seq} does not follow from the one before it: it, or something before it, was changed"
        )),
    }
}

fn judge(broken_at: Option<u64>) -> Result<(), CliError> {
    match broken_at {
        None => Ok(()),
        Some(seq) => {
            Err(CliError::new(ErrorCode::Conflict, format!("the audit trail is broken at record {seq}"))
                .with_hint("compare with an earlier export, and look at who can write to the data folder"))
        }
    }
}
