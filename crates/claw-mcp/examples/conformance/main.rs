//! The fixtures of the public MCP conformance suite on the transport of this crate.
//!
//! `cargo run --release -p claw-mcp --example conformance -- 127.0.0.1:PORT` serves them at `/mcp`; port 0 takes a free
//! one. The address is printed on stdout. The test `conformance` runs the suite against the same.

mod fixtures;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    fixtures::serve(listener, CancellationToken::new()).await
}
