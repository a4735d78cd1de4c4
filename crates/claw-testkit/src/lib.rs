//! Fakes that speak real protocols, and fixtures around real parts. A dev-dependency only.
//!
//! Tests here use real parts: the real CLI, a real Docker Engine, real git. What cannot be had offline is faked by a
//! server that speaks the real protocol. A missing tool fails a test with the way to get it; nothing is skipped.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use claw_testkit::FakeApi;
//!
//! let api = FakeApi::start().await;
//! // The prompt scripts the model: one step for each of its turns.
//! let prompt = r#"FAKE:[{"tool":"Bash","input":{"command":"pwd"}},{"text":"done"}]"#;
//! println!("ANTHROPIC_BASE_URL={} for the CLI, prompt: {prompt}", api.base_url());
//! # }
//! ```

pub mod fake_api;

mod claude;
mod directory;
mod disk;
mod docker;
mod server;
mod wait;

pub use self::{
    claude::{CLAUDE_VARIABLE, claude_binary},
    directory::TempDir,
    disk::{Filler, SmallDisk},
    docker::{DockerScope, require_docker},
    fake_api::FakeApi,
    server::{TEST_TOKEN, TestServer},
    wait::wait_until,
};
