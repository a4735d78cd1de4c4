//! Tools, transports and programs against a whole server over the real Engine.

#[expect(dead_code, unused_imports, reason = "a house for several crates; none lives in all of its rooms")]
#[path = "../../../claw-server/tests/it/lab/mod.rs"]
mod lab;

#[expect(dead_code, reason = "a house for several crates; none lives in all of its rooms")]
#[path = "../../../claw-server/tests/it/homelab/engine.rs"]
mod engine;

#[expect(dead_code, reason = "a house for several crates; none lives in all of its rooms")]
#[path = "../../../claw-server/tests/it/homelab/registry.rs"]
mod registry;

mod clients;
mod conformance;
mod house;
mod http;
mod program;
mod schema;
mod sse;
mod tools;
