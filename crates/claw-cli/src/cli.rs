//! The command line as a whole.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use claw_client::ServerUrl;

use crate::{commands, context::Context, error::CliError};

/// Runs Claude Code jobs in sandboxes and keeps what they bring.
#[derive(Debug, Parser)]
#[command(
    name = "claw",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(
    after_help = "Exit codes: 0 success, 1 failure, 2 not found, 3 wrong state, 4 wait timed out, 64 usage, \
                  130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The server's address [variable: CLAW_API_URL] [default: http://127.0.0.1:5179]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api_url: Option<ServerUrl>,
    /// API key or token; other users of this machine can see it here, so prefer the variable
    /// [variables: CLAW_API_KEY, CLAW_API_TOKEN] [default: the key that `claw setup` stored]
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// The server's configuration file [variable: CLAW_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the API's JSON: one value, or one a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use color; NO_COLOR is respected
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// When to use color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident($module:ident);)*) => {
        /// What to do.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command { $($(#[$doc])* $variant(commands::$module::Arguments),)* }

        impl Command {
            /// Does it.
            pub(crate) async fn run(self, context: &Context) -> Result<(), CliError> {
                match self { $(Self::$variant(arguments) => commands::$module::run(arguments, context).await,)* }
            }
        }
    };
}

commands! {
    /// Run the server: API, worker and store in one process
    Serve(serve);
    /// Make the first key of a new server and store it
    Setup(setup);
    /// Submit a job
    Submit(submit);
    /// Show the server's state, or one job's
    Status(status);
    /// List jobs
    List(list);
    /// Show a job's log
    Logs(logs);
    /// Show what a job brought
    Result(result);
    /// End a job that waits or runs
    Cancel(cancel);
    /// Delete a job that has ended
    Delete(delete);
    /// Show what the workers do
    Workers(workers);
    /// Workspaces and their files
    Workspace(workspace);
    /// Containers of the server's machine
    #[command(visible_alias = "container")]
    Containers(containers);
    /// Images of the server's machine
    #[command(visible_alias = "image")]
    Images(images);
    /// Apps: browse the catalog, install, start, update, uninstall
    #[command(visible_alias = "app")]
    Apps(apps);
    /// API keys
    Key(key);
    /// People's accounts
    User(user);
    /// Show what jobs cost
    Costs(costs);
    /// Show who did what and what was refused, and check that the record is whole
    Audit(audit);
    /// What may be created on Docker, and why something may not
    Policy(policy);
    /// Take over what another server has
    Import(import);
    /// Remove what is old
    Gc(gc);
    /// Ask whether the server answers, for health checks
    Health(health);
    /// Check this machine and the server, and say how to mend what is wrong
    Doctor(doctor);
    /// Print a script that completes commands in a shell
    Completions(completions);
    /// The server's configuration file
    Config(config);
}
