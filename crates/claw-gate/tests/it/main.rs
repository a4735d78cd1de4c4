//! The gate over a real SQLite store.

mod audit;
mod authenticate;
mod delegation;
mod house;
mod housekeeping;
mod import;
mod keys;
mod limits;
mod people;
mod rotation;
mod secrets;
mod sessions;
mod setup;
mod store_failure;
