//! The benchmarks: one table with every number that ClawMachine is to hold, measured on the real release binary.
//!
//! Each group of rows under `rows/` starts `claw serve` as a child over a data folder of its own and loads it over
//! loopback with the lean client in `client`. Where noise matters, runs of what is compared take turns, and medians
//! are told. `scripts/bench` sets up what is missing and runs this.

mod agent;
mod client;
mod follow;
mod image;
mod load;
mod machine;
mod process;
mod rows;
mod seed;
mod serve;
mod stats;
mod table;

use std::{
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use self::{
    machine::Machine,
    rows::{Group, Plan},
    serve::Target,
    table::Table,
};

/// What can go wrong here is told to the person who runs it, whatever it is.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures what ClawMachine is to hold and prints one table.
#[derive(Debug, Parser)]
#[command(name = "claw-bench")]
struct Options {
    /// The groups of rows to measure; all of them if none is named.
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Fewer runs and less data: to see that everything works, not for numbers to quote.
    #[arg(long)]
    quick: bool,
    /// Prints the table as JSON.
    #[arg(long)]
    json: bool,
    /// The release binary; the one beside this program unless set.
    #[arg(long)]
    claw: Option<PathBuf>,
    /// Folder for the data of the servers. It decides which disk is measured.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Address of another server of the same API, such as 127.0.0.1:8080: its submits are measured in turns with ours.
    #[arg(long, requires = "beside_key")]
    beside: Option<SocketAddr>,
    /// A key of that server that may submit jobs.
    #[arg(long)]
    beside_key: Option<String>,
}

fn main() -> ExitCode {
    // Sandboxes are told to run `claude`; where this program stands in for it, it goes by that name.
    if agent::is_called() {
        return agent::run();
    }
    let options = Options::parse();
    match measure(&options) {
        // A number that was missed stands in the table and is no failure; one that could not be had is.
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything could be measured.
fn measure(options: &Options) -> Outcome<bool> {
    let claw = match &options.claw {
        Some(path) => path.canonicalize()?,
        None => beside_this_program("claw")?,
    };
    let beside = options.beside.zip(options.beside_key.clone());
    let beside = beside.map(|(address, key)| Target { address, key, process: None });
    let plan = Plan { claw, folder: options.folder.canonicalize()?, quick: options.quick, beside };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut table = Table::new(Machine::look(&plan.folder)?, options.quick);
        let groups = if options.groups.is_empty() { Group::ALL.to_vec() } else { options.groups.clone() };
        for group in groups {
            eprintln!("measuring: {}", group.describe());
            match group.measure(&plan).await {
                Ok(rows) => table.add(rows),
                // The other rows are worth having all the same.
                Err(error) => table.failed(group, &error.to_string()),
            }
        }
        if options.json {
            println!("{}", table.to_json());
        } else {
            print!("{}", table.to_markdown());
        }
        Ok(table.is_whole())
    })
}

fn beside_this_program(name: &str) -> Outcome<PathBuf> {
    let here = std::env::current_exe()?;
    let path = here.parent().unwrap_or(Path::new(".")).join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is missing: build it with `cargo build --release -p claw-cli`", path.display())
            .into())
    }
}
