//! The real router over a real SQLite store, the real gate and real git repositories. There is no worker: where a job
//! must run or end, the test takes the worker's steps on the store.

mod access;
mod accounts;
mod browsers;
mod events;
mod files;
mod fuzz;
mod homelab;
mod jobs;
mod keys;
mod lab;
mod limits;
mod mcp;
mod measures;
mod openapi;
mod pages;
mod requests;
mod secrets;
mod settings;
mod setup;
mod socket;
mod status;
mod watchers;
mod workspaces;
