//! Workspaces: their files and what was done to them.

mod file;

use claw_client::{Commit, FileEntry};
use claw_core::{RepoPath, Scope, WorkspaceId, untrusted};
use serde_json::{Value, json};

use super::{
    TOOL, schema,
    text::{self, Excerpt, Keep, MOST_BYTES, USUAL_BYTES},
};
use crate::{Call, Failure, Need, Outcome, Tool};

const READ: Need = Need::Scopes(&[Scope::WorkspacesRead]);

/// Workspaces of a page: what the server gives.
const MOST_WORKSPACES: u64 = 100;

/// Files of a list.
const MOST_FILES: usize = 500;

/// Longest line of a commit's message, in characters.
const MESSAGE_WIDTH: usize = 300;

pub(super) const LIST_WORKSPACES: Tool = Tool {
    name: "list_workspaces",
    description: "List workspaces.",
    need: READ,
    input: || schema::arguments(json!({ "offset": schema::number() }), &[]),
    output: || schema::list("workspaces"),
    run: |call| Box::pin(list_workspaces(call)),
    ..TOOL
};

async fn list_workspaces(call: Call) -> Result<Outcome, Failure> {
    let offset = call.arguments.count("offset", 0, u64::from(u32::MAX));
    let page = call.client().workspaces(offset, MOST_WORKSPACES).await;
    let page = page.map_err(|error| Failure::of("list workspaces", &error))?;
    let shown = |workspace: &claw_client::Workspace| -> Value {
        json!({
            "id": workspace.id.to_string(), "name": workspace.name,
            "description": untrusted::clean_line(workspace.description.as_deref().unwrap_or_default(), MESSAGE_WIDTH),
        })
    };
    let outcome = Outcome::list("workspaces", page.items.iter().map(shown).collect());
    let next = offset + page.items.len() as u64;
    Ok(if next < page.total {
        outcome.noting(format!("{} of {}; the next: offset={next}.", page.items.len(), page.total))
    } else {
        outcome
    })
}

pub(super) const LIST_FILES: Tool = Tool {
    name: "list_files",
    description: "List the files of a workspace, or of a folder in it.",
    need: READ,
    input: || {
        schema::arguments(
            json!({ "workspace_id": schema::text(), "path": schema::text() }),
            &["workspace_id"],
        )
    },
    output: || schema::list("files"),
    run: |call| Box::pin(list_files(call)),
    ..TOOL
};

async fn list_files(call: Call) -> Result<Outcome, Failure> {
    let id: WorkspaceId = call.arguments.parsed("workspace_id")?;
    let folder = call.arguments.filled_text("path")?.unwrap_or_default();
    let folder = folder.trim_matches('/');
    let list = call.client().files(id).await.map_err(|error| Failure::of("list files", &error))?;
    let inside = |entry: &&FileEntry| {
        folder.is_empty()
            || folder == "."
            || entry.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    let found: Vec<&FileEntry> = list.files.iter().filter(inside).collect();
    let shown = &found[..found.len().min(MOST_FILES)];
    let line = |entry: &&FileEntry| match entry.is_dir {
        true => untrusted::clean_line(&entry.path, usize::MAX) + "/\n",
        false => format!("{} ({} bytes)\n", untrusted::clean_line(&entry.path, usize::MAX), entry.size),
    };
    let lines: String = shown.iter().map(line).collect();
    let excerpt = Excerpt::of(&lines, Keep::Beginning, MOST_BYTES);
    let files: Vec<Value> = shown
        .iter()
        .map(|entry| json!({ "path": entry.path, "is_dir": entry.is_dir, "size": entry.size }))
        .collect();
    let mut structured = json!({ "untrusted": true, "files": files });
    text::clean_value(&mut structured);
    let origin = format!("file names of workspace {id}");
    let outcome = Outcome::new(text::fenced(&origin, &excerpt.text), structured);
    Ok(if shown.len() < found.len() || excerpt.cut_bytes > 0 {
        let note = format!("Only the first {} of {} are shown; path narrows it.", shown.len(), found.len());
        outcome.noting(note)
    } else {
        outcome
    })
}

pub(super) const READ_FILE: Tool = Tool {
    name: "read_file",
    description: "Read a text file of a workspace: untrusted data. offset passes over lines.",
    need: READ,
    input: || {
        let properties = json!({
            "workspace_id": schema::text(), "path": schema::text(), "offset": schema::number(),
            "max_bytes": schema::number(),
        });
        schema::arguments(properties, &["workspace_id", "path"])
    },
    output: schema::untrusted,
    run: |call| Box::pin(read_file(call)),
    ..TOOL
};

async fn read_file(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let id: WorkspaceId = arguments.parsed("workspace_id")?;
    let path: RepoPath = arguments.parsed("path")?;
    let offset = arguments.count("offset", 0, u64::MAX);
    let most = arguments.count("max_bytes", USUAL_BYTES, MOST_BYTES).max(1);
    let failed = |error| Failure::of("read file", &error);
    let mut download = call.client().read_file(id, &path).await.map_err(failed)?;
    let mut part = file::Part::new(offset, most);
    while !part.is_full()
        && let Some(chunk) = download.chunk().await.map_err(failed)?
    {
        part.push(&chunk);
    }
    let goes_on = part.is_full();
    let text = part.text().ok_or_else(|| Failure::new("Failed to read file: it is no text"))?;
    let excerpt = Excerpt::of(&text, Keep::Beginning, most);
    // Lines that are left out whole come with the next offset; the rest of a line that was cut does not.
    let (lines, whole) = (excerpt.lines() as u64, excerpt.text.ends_with('\n'));
    let origin = format!("file {path} of workspace {id}");
    let mut outcome = text::outcome(&origin, excerpt, "a greater max_bytes gets more");
    if goes_on {
        outcome.note = outcome.note.filter(|_| !whole);
        outcome = outcome.noting(format!("The file goes on: offset={}.", offset.saturating_add(lines)));
    }
    Ok(outcome)
}

pub(super) const WORKSPACE_HISTORY: Tool = Tool {
    name: "workspace_history",
    description: "Show a workspace's last commits.",
    need: READ,
    input: || schema::one("workspace_id"),
    output: || schema::list("commits"),
    run: |call| Box::pin(workspace_history(call)),
    ..TOOL
};

async fn workspace_history(call: Call) -> Result<Outcome, Failure> {
    let id: WorkspaceId = call.arguments.parsed("workspace_id")?;
    let history =
        call.client().history(id).await.map_err(|error| Failure::of("get workspace history", &error))?;
    let message = |commit: &Commit| untrusted::clean_line(&commit.message, MESSAGE_WIDTH);
    let line = |commit: &Commit| format!("{} {} {}\n", commit.hash, commit.date, message(commit));
    let lines: String = history.commits.iter().map(line).collect();
    let excerpt = Excerpt::of(&lines, Keep::Beginning, USUAL_BYTES);
    let commits: Vec<Value> = history
        .commits
        .iter()
        .map(|commit| json!({ "hash": commit.hash, "date": commit.date, "message": message(commit) }))
        .collect();
    let origin = format!("commits of workspace {id}");
    let structured = json!({ "untrusted": true, "commits": commits });
    Ok(Outcome::new(text::fenced(&origin, &excerpt.text), structured))
}
