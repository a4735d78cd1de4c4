//! The commands, one file each: its flags and what it does.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod costs;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod gc;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod policy;
pub(crate) mod result;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod user;
mod wish;
pub(crate) mod workers;
pub(crate) mod workspace;
