//! The groups of rows, each a file of its own.

mod claim;
mod flood;
mod homelab;
mod list;
mod log;
mod mcp;
mod memory;
mod model;
mod sandbox;
mod size;
mod start;
mod submit;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{Outcome, client::Client, serve::Target, table::Row};

/// How long a job may take to get where it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured, where, and how thoroughly.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) claw: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) quick: bool,
    /// Another server of the same API, measured in turns with ours where that can be.
    pub(crate) beside: Option<Target>,
}

impl Plan {
    /// Returns the first number, or the second one in a quick run.
    fn or_quick<T>(&self, thorough: T, quick: T) -> T {
        if self.quick { quick } else { thorough }
    }
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Size of the release binary.
    Size,
    /// Memory of an idle server.
    Memory,
    /// Start to first answered request.
    Start,
    /// Durable submits over HTTP.
    Submit,
    /// Pages of jobs at 100,000 jobs.
    List,
    /// Submit to claimed by an idle worker.
    Claim,
    /// Our time over the Engine's own create and start.
    Sandbox,
    /// Submit to the first model request, cold and warm.
    Model,
    /// Log line to a watching client.
    Log,
    /// Ten thousand log lines a second.
    Flood,
    /// Containers, the policy, keys, and many who watch.
    Homelab,
    /// The tools of MCP clients.
    Mcp,
}

impl Group {
    pub(crate) const ALL: [Self; 12] = [
        Self::Size,
        Self::Memory,
        Self::Start,
        Self::Submit,
        Self::List,
        Self::Claim,
        Self::Sandbox,
        Self::Model,
        Self::Log,
        Self::Flood,
        Self::Homelab,
        Self::Mcp,
    ];

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Size => "the size of the binary",
            Self::Memory => "the memory of an idle server",
            Self::Start => "the start of a server",
            Self::Submit => "durable submits over HTTP",
            Self::List => "pages of many jobs",
            Self::Claim => "the claim by an idle worker",
            Self::Sandbox => "the start of a sandbox",
            Self::Model => "the way to the first model request",
            Self::Log => "the way of a log line",
            Self::Flood => "a flood of log lines",
            Self::Homelab => "the homelab",
            Self::Mcp => "the tools of MCP clients",
        }
    }

    pub(crate) async fn measure(self, plan: &Plan) -> Outcome<Vec<Row>> {
        match self {
            Self::Size => size::measure(plan),
            Self::Memory => memory::measure(plan).await,
            Self::Start => start::measure(plan).await,
            Self::Submit => submit::measure(plan).await,
            Self::List => list::measure(plan).await,
            Self::Claim => claim::measure(plan).await,
            Self::Sandbox => sandbox::measure(plan).await,
            Self::Model => model::measure(plan).await,
            Self::Log => log::measure(plan).await,
            Self::Flood => flood::measure(plan).await,
            Self::Homelab => homelab::measure(plan).await,
            Self::Mcp => mcp::measure(plan).await,
        }
    }
}

/// The body of a plain submit.
fn submit_body(number: u64) -> String {
    format!(r#"{{"prompt":"Write a haiku about lobsters to haiku-{number}.txt","tags":["haiku"]}}"#)
}

/// Submits a job and returns its id.
async fn submit(client: &mut Client<TcpStream>, prompt: &str) -> Outcome<String> {
    let receipt = client.post("/api/v1/jobs", &serde_json::json!({ "prompt": prompt })).await?;
    Ok(receipt["id"].as_str().ok_or("a receipt without an id")?.to_owned())
}

/// Waits until a job has ended well, and returns it.
async fn completed(client: &mut Client<TcpStream>, id: &str) -> Outcome<Value> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let job = client.get(&format!("/api/v1/jobs/{id}")).await?;
        match job["status"].as_str().unwrap_or_default() {
            "completed" => return Ok(job),
            "failed" | "cancelled" => return Err(format!("a job did not end well: {}", job["error"]).into()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Err(format!("job {id} does not end").into())
}
