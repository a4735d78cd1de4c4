//! Agent CLIs: how they are called, where they run, what they say, and how they reach their model.

pub mod docker;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod invocation;
mod lines;
pub mod local;
pub mod run;
pub mod sandbox;
pub mod stream;
mod text;
pub mod warm;
