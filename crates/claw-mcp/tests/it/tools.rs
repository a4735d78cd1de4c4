//! Every tool against a whole server.

mod apps;
mod containers;
mod images;
mod jobs;
mod list;
mod refusals;
mod system;
mod templates;
mod untrusted;
mod workspaces;
