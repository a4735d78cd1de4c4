//! Workspaces on a real git and a real file system.

#![expect(clippy::disallowed_methods, reason = "the tests play the sandbox, which starts its own git")]

mod agent_commits;
mod bombs;
mod edits_during_jobs;
mod files;
mod hostile_repository;
mod hostile_tree;
mod jobs;
mod repositories;
mod support;
