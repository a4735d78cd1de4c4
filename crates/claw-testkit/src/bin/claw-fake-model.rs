//! The offline scripted model as a program: `scripts/run` starts it when there are no credentials for a real one.
//!
//! The prompt scripts the answer, see [`claw_testkit::fake_api`]. A prompt without a script gets a friendly word about
//! what this is. It ends on SIGTERM, on Ctrl-C, or by itself after `--max-seconds`.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use claw_testkit::FakeApi;
use tokio::signal::unix::{SignalKind, signal};

const DEFAULT_TEXT: &str = "Hello from the offline scripted model. There are no credentials for a real one, so I can only \
    play the script that a prompt carries, and yours carries none. Set ANTHROPIC_API_KEY, or log in with `claude`, and \
    start the server again: then a real model answers.";

/// Answers calls of the Messages API from the script in their prompt, offline.
#[derive(Debug, Parser)]
#[command(name = "claw-fake-model")]
struct Options {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Writes the port to this file once the server listens.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Ends by itself after so many seconds.
    #[arg(long, default_value_t = 7200)]
    max_seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.listen.ip().is_loopback() {
        return Err(io::Error::other("the scripted model listens on loopback addresses only"));
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let api = FakeApi::builder().default_text(DEFAULT_TEXT).start_on(options.listen)?;
    println!("{}", api.base_url());
    if let Some(file) = &options.port_file {
        let port = api.base_url().rsplit(':').next().unwrap_or_default();
        // Renamed into place, so that a reader never sees half a number.
        let draft = file.with_extension("draft");
        std::fs::write(&draft, port)?;
        std::fs::rename(&draft, file)?;
    }
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = tokio::time::sleep(Duration::from_secs(options.max_seconds)) => {}
    }
    Ok(())
}
