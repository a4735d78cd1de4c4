//! The agent room with real parts: the real Claude Code CLI in the local sandbox, through the gateway, against a
//! scripted Messages API.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod gateway;
mod lab;
mod leaving;
mod limits;
mod local;
mod login;
mod meters;
mod runs;
mod samples;
