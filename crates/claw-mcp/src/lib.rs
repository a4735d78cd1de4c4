//! The homelab and the orchestrator as MCP tools that exist only if the caller's key permits them.
//!
//! A tool is data (`tool::Tool`): its name, the scope it needs, its schemas, and a function that calls the REST API
//! through [`claw_client::Client`]. [`McpService`] speaks the protocol and shows each caller the tools that the key
//! behind the request permits at that moment; what a tool may do is decided again by the server it calls, so a tool
//! that should not have been shown still does nothing. Where requests come from (stdio, HTTP, the two-endpoint SSE) and
//! which hosts are behind them is for the programs that build a service: `clawmachine`, and `claw serve` with its own
//! `/mcp`.

mod access;
mod host;
pub mod http;
mod service;
pub mod skills;
pub mod sse;
mod tasks;
mod tool;
pub mod tools;
mod wire;

pub use access::{Access, Admission, Admitted, Fixed, Owner, PerRequest};
pub use host::{Host, Hosts, Standing};
pub use service::{McpService, Options};
pub use tasks::{TaskRoom, Tasks};
pub use tool::{Arguments, Call, Effect, Failure, Need, Outcome, Progress, Tool};
pub use wire::talk;
