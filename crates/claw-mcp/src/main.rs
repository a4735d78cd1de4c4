//! `clawmachine`: the MCP server that sits beside an MCP client and calls ClawMachine servers.

use std::{process::ExitCode, sync::Arc};

use claw_client::{Client, Credential};
use claw_mcp::{Fixed, Host, Hosts, McpService, Options};
use rmcp::{ServiceExt, transport::io::stdio_pipes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("Error: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("WAGMIOS_API_URL")?;
    let key = std::env::var("WAGMIOS_API_KEY")?;
    let client = Client::new(url.parse()?, Some(Credential::new(key)))?;
    let host = Host::new("", "", client);
    host.refresh().await?;
    let service = McpService::new(Fixed(Arc::new(Hosts::single(host))), Options::default());
    service.serve(stdio_pipes()).await?.waiting().await?;
    Ok(())
}
