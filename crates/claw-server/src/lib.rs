//! HTTP: REST in both dialects, MCP, server-sent events, the OpenAPI document, and two small pages.
//!
//! This crate is a door. A handler translates a request, calls one service, and translates the answer back; rules
//! live in `claw-core`, use cases in `claw-jobs`, `claw-homelab` and `claw-gate`. What is decided here is HTTP's own: which host names
//! and origins pass (`hosts`), where a credential is found (`extract`), and what errors look like (`error`).
//!
//! `/api/v1` speaks plain JSON with errors `{"error":"sentence","code":"CODE"}`, the rest of `/api` wraps everything in
//! `{"success":…,"data":…,"error":…}`. Every credential kind works on both.

mod app;
mod error;
mod extract;
mod feed;
mod frame;
mod homelab;
mod hosts;
mod mcp;
mod measures;
mod network;
mod openapi;
mod pages;
mod probe;
mod rooms;
mod serve;
mod slashes;
mod sse;
mod tickets;
mod v1;

pub use app::{App, HttpConfig, MetricsAccess, ModelLogin, Probes, router};
pub use openapi::openapi;
pub use serve::{ConnectionLimits, serve, serve_within};
