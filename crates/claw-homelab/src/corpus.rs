//! The attempts of [`claw_docker::policy::corpus`] in the words of each door, and attempts that only one way of writing
//! knows: JSON with two meanings, compose files that read or run something else.
//!
//! One table for all doors: what is asked for stands in one place, and how a door is asked for it in another.

mod bodies;
mod files;
mod spelled;

pub use bodies::{Body, bodies};
pub use files::{File, files};
pub use spelled::{Doc, JsonForm, YamlForm, compose, json, with_variables};
