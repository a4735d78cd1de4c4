//! Finding jobs, workspaces and keys by what a person types: a whole id, a short one, a name.

use claw_client::{Client, Job, JobQuery, KeyMeta, Workspace};
use claw_core::{Coded, ErrorCode, JobId, WorkspaceId};

use crate::{error::CliError, untrusted};

/// Shortest piece of an id that is looked for.
const MIN_PIECE: usize = 6;
/// Largest page that the server gives.
const PAGE: u32 = 100;
/// How many of the newest jobs a short id is looked for in.
const MAX_JOBS: u64 = 2_000;
/// How many workspaces a name is looked for in.
const MAX_WORKSPACES: u64 = 10_000;
/// Most candidates that an error lists.
const MAX_CANDIDATES: usize = 8;

/// Returns the short form of a UUID: its last 12 digits. The first ones say when it was made, and ids made in one
/// minute share them.
pub(crate) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(12)..).unwrap_or(id)
}

/// Returns the hexadecimal digits of a piece of an id, or `None` if it cannot be one.
fn piece(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let fits = (MIN_PIECE..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    fits.then_some(digits)
}

/// Tells whether `piece` is the end or the beginning of `id`.
fn matches(id: &str, piece: &str) -> bool {
    let digits = id.replace('-', "");
    digits.ends_with(piece) || digits.starts_with(piece)
}

/// Finds a job by its id or a unique piece of it.
pub(crate) async fn job(client: &Client, text: &str) -> Result<JobId, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let shown = untrusted::clean_line(text, 60);
    let piece = piece(text).ok_or_else(|| {
        CliError::usage(format!(
            "`{shown}` is not a job id: expected a UUID or at least {MIN_PIECE} of its last digits"
        ))
    })?;
    let mut found: Vec<Job> = Vec::new();
    let mut offset = 0;
    while offset < MAX_JOBS {
        let query = JobQuery { limit: Some(PAGE), offset: Some(offset), ..JobQuery::default() };
        let page = client.jobs(&query).await?.into_value();
        let is_last = page.items.len() < PAGE as usize;
        offset += u64::from(PAGE);
        for job in page.items {
            // A job submitted meanwhile moves the pages by one.
            if matches(&job.id.to_string(), &piece) && found.iter().all(|other| other.id != job.id) {
                found.push(job);
            }
        }
        if is_last {
            break;
        }
    }
    match found.as_slice() {
        [] => {
            Err(CliError::new(ErrorCode::JobNotFound, format!("no job has an id that ends with `{shown}`"))
                .with_hint(format!(
                    "`claw list` shows the jobs; ids are looked for among the newest {MAX_JOBS}"
                )))
        }
        [job] => Ok(job.id),
        several => Err(ambiguous(
            "job",
            &shown,
            several
                .iter()
                .map(|job| format!("{} {} {}", job.id, job.status, untrusted::clean_line(&job.prompt, 40))),
        )),
    }
}

/// Finds a workspace by its id, its name or a unique piece of its id.
pub(crate) async fn workspace(client: &Client, text: &str) -> Result<WorkspaceId, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let all = all_workspaces(client).await?;
    let describe =
        |workspace: &&Workspace| format!("{} {}", workspace.id, untrusted::clean_line(&workspace.name, 40));
    let mut found: Vec<_> = all.iter().filter(|workspace| workspace.name == text.trim()).collect();
    if let (true, Some(piece)) = (found.is_empty(), piece(text)) {
        found = all.iter().filter(|workspace| matches(&workspace.id.to_string(), &piece)).collect();
    }
    let shown = untrusted::clean_line(text, 60);
    match found.as_slice() {
        [] => Err(CliError::new(
            ErrorCode::WorkspaceNotFound,
            format!("no workspace has the name or id `{shown}`"),
        )
        .with_hint("`claw workspace list` shows the workspaces")),
        [workspace] => Ok(workspace.id),
        several => Err(ambiguous("workspace", &shown, several.iter().map(describe))),
    }
}

/// Returns a workspace that has this very name.
pub(crate) async fn workspace_named(client: &Client, name: &str) -> Result<Option<WorkspaceId>, CliError> {
    let all = all_workspaces(client).await?;
    Ok(all.into_iter().find(|workspace| workspace.name == name.trim()).map(|workspace| workspace.id))
}

async fn all_workspaces(client: &Client) -> Result<Vec<Workspace>, CliError> {
    let mut all = Vec::new();
    loop {
        let page = client.workspaces(all.len() as u64, u64::from(PAGE)).await?.into_value();
        let is_last = page.items.len() < PAGE as usize;
        all.extend(page.items);
        if is_last || all.len() as u64 >= MAX_WORKSPACES {
            return Ok(all);
        }
    }
}

/// Returns how the server writes whom `text` names: such a mark itself, a key by what [`key`] knows it by, or a person
/// by the name.
pub(crate) async fn mark(client: &Client, text: &str) -> Result<String, CliError> {
    let text = text.trim();
    if text.contains(':') || matches!(text, "token" | "system" | "") {
        return Ok(text.to_owned());
    }
    let keys = client.keys().await?;
    match key(&keys, text) {
        Ok(key) => return Ok(format!("key:{}", key.id)),
        Err(error) if error.code() == ErrorCode::KeyNotFound => {}
        Err(error) => return Err(error),
    }
    let users = client.users().await?;
    if users.items.iter().any(|user| user.username == text) {
        return Ok(format!("user:{text}"));
    }
    let shown = untrusted::clean_line(text, 60);
    Err(CliError::usage(format!(
        "no key and nobody is called `{shown}`; of those that are gone, give the whole mark: key:ID or user:NAME"
    ))
    .with_hint("`claw key list` and `claw user list` show them"))
}

/// Returns how the audit trail writes the target that `text` names: `job:` and `workspace:` take what [`job`] and
/// [`workspace`] take, too.
pub(crate) async fn target(client: &Client, text: &str) -> Result<String, CliError> {
    let found = match text.split_once(':') {
        Some(("job", id)) if piece(id).is_some() => job(client, id).await.map(|id| format!("job:{id}")),
        Some(("workspace", name)) if !name.is_empty() => {
            workspace(client, name).await.map(|id| format!("workspace:{id}"))
        }
        _ => return Ok(text.to_owned()),
    };
    match found {
        // It may be gone, and the trail still knows it by the beginning of its id.
        Err(error) if matches!(error.code(), ErrorCode::JobNotFound | ErrorCode::WorkspaceNotFound) => {
            Ok(text.to_owned())
        }
        found => found,
    }
}

/// Finds a key by its id, its label, the beginning of the key or a unique piece of its id.
pub(crate) fn key<'a>(keys: &'a [KeyMeta], text: &str) -> Result<&'a KeyMeta, CliError> {
    let text = text.trim();
    let digits = piece(text);
    let by_name = |key: &&KeyMeta| key.id == text || key.label == text;
    let by_piece = |key: &&KeyMeta| {
        digits.as_deref().is_some_and(|piece| matches(&key.id, piece))
            || (text.len() >= MIN_PIECE && !key.key_prefix.is_empty() && key.key_prefix == text)
    };
    let mut found: Vec<_> = keys.iter().filter(by_name).collect();
    if found.is_empty() {
        found = keys.iter().filter(by_piece).collect();
    }
    let shown = untrusted::clean_line(text, 60);
    match found.as_slice() {
        [] => Err(CliError::new(ErrorCode::KeyNotFound, format!("no key has the id or label `{shown}`"))
            .with_hint("`claw key list` shows the keys")),
        [key] => Ok(key),
        several => Err(ambiguous(
            "key",
            &shown,
            several.iter().map(|key| format!("{} {}", key.id, untrusted::clean_line(&key.label, 40))),
        )),
    }
}

fn ambiguous(kind: &str, shown: &str, candidates: impl ExactSizeIterator<Item = String>) -> CliError {
    let more = candidates.len().saturating_sub(MAX_CANDIDATES);
    let mut message = format!("`{shown}` stands for more than one {kind}:");
    for candidate in candidates.take(MAX_CANDIDATES) {
        message.push_str("\n  ");
        message.push_str(&candidate);
    }
    if more > 0 {
        message.push_str(&format!("\n  and {more} more"));
    }
    CliError::usage(message).with_hint("give more digits, or the whole id")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e";

    #[test]
    fn an_id_is_found_by_its_end_and_by_its_beginning() {
        assert_eq!(short(ID), "0f4a1b2c3d4e");
        for (text, expected) in [
            ("0f4a1b2c3d4e", true),
            ("2C3D4E", true),
            ("9d5e-0f4a1b2c3d4e", true),
            ("019a5b7e-6f2d", true),
            ("6f2d-7c3b", false),
        ] {
            let piece = piece(text).expect(text);
            assert_eq!(matches(ID, &piece), expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_short_or_no_digits_is_not_looked_for() {
        for text in ["", "12345", "c3d4eg", "../../etc", "0123456789012345678901234567890123"] {
            assert_eq!(piece(text), None, "{text}");
        }
    }
}
