//! `clawmachine`: the MCP server that sits beside an MCP client and calls ClawMachine servers.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
