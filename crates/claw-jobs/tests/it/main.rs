//! The use cases over a real store, real git and, where a job runs, the real CLI.

mod jobs;
mod recovery;
mod setting;
mod settings;
mod worker;
mod workspaces;
