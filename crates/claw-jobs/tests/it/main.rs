//! The use cases over a real store, real git and, where a job runs, the real CLI or a function in its place.

mod audit;
mod bad_days;
mod ceilings;
mod clock;
mod crash;
mod disk;
mod fake_sandbox;
mod jobs;
mod money;
mod rate_limits;
mod recovery;
mod redaction;
mod retention;
mod setting;
mod settings;
mod worker;
mod workspaces;
