//! The binary `claw` from outside, and the house's own rules.
//!
//! The commands run against [`server::Server`], a scripted stand-in for the API. Tests use only what the real one has
//! too (its address, a key, prompts that succeed, fail or hang), so that they can be pointed at it.

mod architecture;
mod assurance;
mod command_line;
mod doctor;
mod documents;
mod homelab;
mod jobs;
mod keys_and_users;
mod mcp_docs;
mod program;
mod server;
mod set_up;
mod skill;
mod workspaces;
