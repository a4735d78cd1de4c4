//! `claw serve`: its flags and the settings that come of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use claw_client::ServerUrl;

use crate::{
    context::Context,
    error::CliError,
    serve,
    settings::{Overrides, Settings},
};

/// Flags that set what the configuration file and the variables also set.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingFlags {
    /// Address and port to listen on [variable: CLAW_LISTEN] [default: 127.0.0.1:5179]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Folder for everything that is kept [variable: CLAW_DATA_DIR] [default: ~/.claw]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// How many jobs run at once [variable: CLAW_WORKER_CONCURRENCY] [default: 2]
    #[arg(long, value_name = "NUMBER")]
    workers: Option<String>,
    /// Any other setting, such as `sandbox.memory=8g`; `claw config sample` lists them
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingFlags {
    /// Returns the server that these flags are about: the one named otherwise, else the one that listens where
    /// `--listen` says.
    pub(crate) fn server(&self, context: &Context) -> Result<ServerUrl, CliError> {
        let listen = self.listen.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
        match listen {
            Some(mut listen) => {
                if listen.ip().is_unspecified() {
                    listen.set_ip(Ipv4Addr::LOCALHOST.into());
                }
                context.server_or(&format!("http://{listen}"))
            }
            None => context.server(),
        }
    }

    /// Returns what these flags set.
    pub(crate) fn overrides(&self) -> Result<Overrides, CliError> {
        let mut overrides = Overrides::default();
        for assignment in &self.set {
            overrides.set_any(assignment)?;
        }
        // A flag of its own comes before `--set` for the same key.
        let data_dir = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        overrides.set("listen", "--listen", self.listen.clone());
        overrides.set("data_dir", "--data-dir", data_dir);
        overrides.set("workers", "--workers", self.workers.clone());
        Ok(overrides)
    }
}

/// The flags of `claw serve`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: SettingFlags,
}

/// Runs the server until it is told to end.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    serve::run(settings(&arguments, context)?, context).await
}

/// Returns the settings that the server is to run with.
fn settings(arguments: &Arguments, context: &Context) -> Result<Settings, CliError> {
    context.settings(&arguments.flags.overrides()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{cli::Cli, output::Output, settings::Environment};

    #[derive(Debug, Parser)]
    struct Serve {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn the_flags_of_serve_come_before_everything_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("c.toml");
        std::fs::write(&config, "workers = 3\nlisten = \"127.0.0.1:1\"\n[sandbox]\npids = 64")
            .expect("a file");
        let globals = Cli::parse_from(["claw", "--config", &config.to_string_lossy(), "list"]).globals;
        let environment = Environment::from([("HOME", "/home/me"), ("CLAW_WORKER_CONCURRENCY", "4")]);
        let output = Output::new(&globals, &environment);
        let context = Context::new(globals, output, environment);
        let serve = Serve::parse_from([
            "serve",
            "--listen",
            "0.0.0.0:80",
            "--data-dir",
            "/srv/claw",
            "--set",
            "sandbox.memory=8g",
        ]);

        let settings = settings(&serve.arguments, &context).expect("settings");

        assert_eq!(settings.server.listen.to_string(), "0.0.0.0:80");
        assert_eq!(settings.server.data_dir, std::path::Path::new("/srv/claw"));
        assert_eq!(settings.server.workers.get(), 4);
        assert_eq!((settings.sandbox.memory.0 >> 30, settings.sandbox.pids.0), (8, 64));
    }
}
