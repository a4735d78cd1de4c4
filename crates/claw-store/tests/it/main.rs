//! The conformance suite against SQLite, and what only a file can get wrong.

mod batch;
mod child;
mod conformance;
mod crash;
mod crashes;
mod disk;
mod file;
mod full;
mod lists;
mod migration;
mod setting;
