//! `claw workspace`: workspaces, their files and their history.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use claw_client::{Client, NewWorkspace, Workspace};
use claw_core::{Clock, Coded, ErrorCode, RepoPath, SystemClock, WorkspaceId};
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    ids, prompt,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// Largest file that is written through the API.
const MAX_FILE_BYTES: usize = 1_900_000;
/// Workspaces on one page.
const PAGE: u64 = 100;

/// The commands of `claw workspace`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a workspace
    Create(Create),
    /// List workspaces
    List,
    /// Show one workspace
    Show(Which),
    /// Delete a workspace
    Delete {
        #[command(flatten)]
        workspace: Which,
        /// Delete its repository too
        #[arg(long)]
        files: bool,
    },
    /// List the files of a workspace
    Files(Which),
    /// Print a file
    Cat(File),
    /// Write a file
    Put {
        #[command(flatten)]
        file: File,
        /// The file with its content; `-` reads it from standard input
        #[arg(value_name = "FROM", default_value = "-")]
        from: PathBuf,
    },
    /// Delete a file, or a folder with all it holds
    Rm(File),
    /// Show the last commits
    History(Which),
    /// Show what happened in a workspace
    Events {
        #[command(flatten)]
        workspace: Which,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100))]
        limit: u64,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// A name for people
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// What becomes of jobs' changes [default: persistent]
    #[arg(long, value_parser = ["persistent", "ephemeral"])]
    persistence: Option<String>,
    /// File with instructions for the agent
    #[arg(long, value_name = "FILE")]
    claude_md: Option<PathBuf>,
    /// Network of its jobs [default: the server's]
    #[arg(long, value_parser = ["none", "bridge"])]
    network: Option<String>,
    /// Memory limit of its jobs, such as 4g [default: the server's]
    #[arg(long)]
    memory: Option<String>,
    /// CPU limit of its jobs in cores [default: the server's]
    #[arg(long)]
    cpus: Option<f64>,
}

#[derive(Debug, Args)]
struct Which {
    /// The workspace: its id, its name or the last digits of its id
    workspace: String,
}

#[derive(Debug, Args)]
struct File {
    /// The workspace: its id, its name or the last digits of its id
    workspace: String,
    /// Path inside the workspace
    path: String,
}

impl Which {
    async fn id(&self, client: &Client) -> Result<WorkspaceId, CliError> {
        ids::workspace(client, &self.workspace).await
    }
}

impl File {
    /// Returns what the arguments name; the path is checked before anything is sent.
    async fn find(&self, client: &Client) -> Result<(WorkspaceId, RepoPath), CliError> {
        let path = self.path.parse::<RepoPath>().map_err(|error| CliError::usage(error.to_string()))?;
        Ok((ids::workspace(client, &self.workspace).await?, path))
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    match arguments.action {
        Action::Create(create) => self::create(context, &client, create).await,
        Action::List => list(context, &client).await,
        Action::Show(which) => show(context, &client, which.id(&client).await?).await,
        Action::Delete { workspace, files } => {
            let id = workspace.id(&client).await?;
            client.delete_workspace(id, files).await?;
            let text = match files {
                true => format!("{id} deleted, with its files"),
                false => format!("{id} deleted; its repository stays in the server's data folder"),
            };
            context.output.done(&json!({ "id": id, "deleted": true }), text)
        }
        Action::Files(which) => files(context, &client, which.id(&client).await?).await,
        Action::Cat(file) => cat(context, &client, &file).await,
        Action::Put { file, from } => {
            let content = read_text(&from)?;
            let (id, path) = file.find(&client).await?;
            client.write_file(id, &path, &content).await?;
            context
                .output
                .done(&json!({ "path": path.as_str(), "size": content.len() }), format!("{path} written"))
        }
        Action::Rm(file) => {
            let (id, path) = file.find(&client).await?;
            client.delete_file(id, &path).await?;
            context.output.done(&json!({ "path": path.as_str(), "deleted": true }), format!("{path} deleted"))
        }
        Action::History(which) => history(context, &client, which.id(&client).await?).await,
        Action::Events { workspace, limit } => {
            events(context, &client, workspace.id(&client).await?, limit).await
        }
    }
}

fn read_text(from: &Path) -> Result<String, CliError> {
    if from == Path::new("-") {
        return prompt::read_stdin(MAX_FILE_BYTES);
    }
    let cannot = |reason: String| CliError::usage(format!("cannot read {}: {reason}", from.display()));
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Not its size: a device or a pipe has none, and goes on for ever.
        std::fs::File::open(from)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| cannot(error.to_string()))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(cannot(format!("it has more than {MAX_FILE_BYTES} bytes, the most that is sent")));
    }
    String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8 text".to_owned()))
}

async fn create(context: &Context, client: &Client, create: Create) -> Result<(), CliError> {
    // The server takes any name; here a name stands for one workspace.
    if let Some(id) = named(client, &create.name).await? {
        let name = clean_line(&create.name, 60);
        let message = format!("a workspace with the name `{name}` exists: {id}");
        return Err(CliError::new(ErrorCode::Conflict, message).with_hint("choose another name"));
    }
    let workspace = NewWorkspace {
        name: create.name,
        description: create.description,
        persistence: create.persistence,
        claude_md: create.claude_md.as_deref().map(read_text).transpose()?,
        network_mode: create.network,
        memory_limit: create.memory,
        cpu_limit: create.cpus,
    };
    let created = client.create_workspace(&workspace).await?;
    let output = &context.output;
    output.answer(&created, |created| match output.quiet {
        true => output.line(created.id),
        false => output.line(format!("{} {}", created.id, clean_line(&created.name, 200))),
    })
}

/// Returns the workspace of that name, as far as the key may look.
async fn named(client: &Client, name: &str) -> Result<Option<WorkspaceId>, CliError> {
    match ids::workspace_named(client, name).await {
        Err(error) if error.code() == ErrorCode::ScopeRequired => Ok(None),
        found => found,
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), CliError> {
    let output = &context.output;
    let now = SystemClock.now();
    let mut table = Table::new(["ID", "NAME", "PERSISTENCE", "CHANGED", "DESCRIPTION"]);
    let mut offset = 0;
    loop {
        let page = client.workspaces(offset, PAGE).await?;
        if output.json {
            // One value a page; most installations have one page.
            output.json(page.json())?;
        }
        for workspace in &page.items {
            let id = workspace.id.to_string();
            table.row([
                if output.verbose { id } else { ids::short(&id).to_owned() },
                clean_line(&workspace.name, 40),
                clean_line(workspace.persistence.as_deref().unwrap_or("-"), 20),
                render::age(workspace.updated_at, now),
                clean_line(workspace.description.as_deref().unwrap_or_default(), 60),
            ]);
        }
        offset += page.items.len() as u64;
        if (page.items.len() as u64) < PAGE {
            break;
        }
    }
    if output.json {
        return Ok(());
    }
    table.print(output)?;
    if offset == 0 {
        output.note("no workspaces; `claw workspace create NAME` makes one");
    }
    Ok(())
}

async fn show(context: &Context, client: &Client, id: WorkspaceId) -> Result<(), CliError> {
    let workspace = client.workspace(id).await?;
    let output = &context.output;
    output.answer(&workspace, |workspace| {
        facts(workspace).into_iter().try_for_each(|(name, value)| output.line(format!("{name:<12} {value}")))
    })
}

fn facts(workspace: &Workspace) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| {
        value.as_deref().map(|text| clean_line(text, 200)).filter(|text| !text.is_empty())
    };
    let all = [
        ("id", Some(workspace.id.to_string())),
        ("name", Some(clean_line(&workspace.name, 200))),
        ("description", text(&workspace.description)),
        ("persistence", text(&workspace.persistence)),
        ("network", text(&workspace.network_mode)),
        ("memory", text(&workspace.memory_limit)),
        ("cpus", workspace.cpu_limit.map(|cores| cores.to_string())),
        ("created", workspace.created_at.map(render::time)),
        ("changed", workspace.updated_at.map(render::time)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

async fn files(context: &Context, client: &Client, id: WorkspaceId) -> Result<(), CliError> {
    let list = client.files(id).await?;
    let output = &context.output;
    output.answer(&list, |list| {
        let mut table = Table::new(["SIZE", "PATH"]);
        for file in &list.files {
            let (size, slash) =
                if file.is_dir { ("-".to_owned(), "/") } else { (render::size(file.size), "") };
            table.row([size, format!("{}{slash}", clean_line(&file.path, 4096))]);
        }
        table.print(output)
    })
}

async fn cat(context: &Context, client: &Client, file: &File) -> Result<(), CliError> {
    let (id, path) = file.find(client).await?;
    let mut download = client.read_file(id, &path).await?;
    if !context.output.stdout.is_terminal {
        while let Some(chunk) = download.chunk().await? {
            context.output.bytes(&chunk)?;
        }
        return Ok(());
    }
    // A terminal is shown whole text at once, so that no escape sequence passes in two halves.
    let mut content = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        content.extend_from_slice(&chunk);
        if content.contains(&0) || content.len() > 64 << 20 {
            return Err(CliError::usage(format!("{path} is not text or too large for a terminal"))
                .with_hint("send it into a file: `claw workspace cat … > FILE`"));
        }
    }
    Ok(context.output.bytes(&content)?)
}

async fn history(context: &Context, client: &Client, id: WorkspaceId) -> Result<(), CliError> {
    let history = client.history(id).await?;
    let output = &context.output;
    output.answer(&history, |history| {
        let mut table = Table::new(["COMMIT", "DATE", "MESSAGE"]);
        for commit in &history.commits {
            let digits = if output.verbose { 64 } else { 10 };
            let hash: String = clean_line(&commit.hash, 64).chars().take(digits).collect();
            table.row([hash, clean_line(&commit.date, 30), clean_line(&commit.message, 100)]);
        }
        table.print(output)
    })
}

async fn events(context: &Context, client: &Client, id: WorkspaceId, limit: u64) -> Result<(), CliError> {
    let timeline = client.timeline(id, limit).await?;
    let output = &context.output;
    output.answer(&timeline, |timeline| {
        let mut table = Table::new(["WHEN", "WHAT", "ABOUT", "DESCRIPTION"]);
        for event in &timeline.events {
            let about = clean_line(event.related_id.as_deref().unwrap_or("-"), 64);
            table.row([
                event.timestamp.map_or_else(|| "-".into(), render::time),
                clean_line(&event.event_type, 30),
                ids::short(&about).to_owned(),
                clean_line(&event.description, 100),
            ]);
        }
        table.print(output)
    })
}
