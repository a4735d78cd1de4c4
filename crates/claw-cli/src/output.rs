//! What is printed, where, and whether in color.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use claw_client::Answer;
use claw_core::Coded;
use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize, Style};
use serde_json::json;

use crate::{
    cli::{ColorChoice, Globals},
    error::CliError,
    settings::Environment,
    untrusted,
};

/// How to print. Data goes to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
}

/// One of the two streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) is_terminal: bool,
    color: bool,
}

impl Stream {
    /// Returns `text` in `style`, or as it is without color.
    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        if self.color { text.style(style).to_string() } else { text.to_string() }
    }
}

impl Output {
    pub(crate) fn new(globals: &Globals, environment: &Environment) -> Self {
        let stream = |is_terminal: bool| Stream {
            is_terminal,
            color: match globals.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                // https://no-color.org: any value that is not empty.
                ColorChoice::Auto => {
                    is_terminal
                        && environment.get("NO_COLOR").is_none()
                        && environment.get("TERM").is_none_or(|term| term != "dumb")
                }
            },
        };
        Self {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            stdout: stream(io::stdout().is_terminal()),
            stderr: stream(io::stderr().is_terminal()),
        }
    }

    /// Prints one line of data. What others wrote must have gone through [`untrusted`] before.
    pub(crate) fn line(&self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Prints the server's JSON.
    pub(crate) fn json(&self, json: &str) -> io::Result<()> {
        self.line(untrusted::escape_json(json))
    }

    /// Prints an answer of the server: its own JSON with `--json`, else what `print` makes of it.
    pub(crate) fn answer<T>(
        &self,
        answer: &Answer<T>,
        print: impl FnOnce(&T) -> io::Result<()>,
    ) -> Result<(), CliError> {
        if self.json {
            self.json(answer.json())?
        } else {
            print(answer)?
        }
        Ok(())
    }

    /// Reports what was done by a route that answers nothing.
    pub(crate) fn done(&self, json: &serde_json::Value, text: impl Display) -> Result<(), CliError> {
        if self.json {
            self.json(&json.to_string())?
        } else {
            self.line(text)?
        }
        Ok(())
    }

    /// Prints bytes as they are into a pipe or file, and made safe onto a terminal.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.stdout.is_terminal {
            stdout.write_all(untrusted::clean(&String::from_utf8_lossy(bytes)).as_bytes())?;
        } else {
            stdout.write_all(bytes)?;
        }
        stdout.flush()
    }

    /// Says something that is not data. Kept back with `--quiet` and `--json`.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet && !self.json {
            print_to_stderr(&text.to_string());
        }
    }

    /// Says what a person should know even with `--quiet`.
    pub(crate) fn warn(&self, text: impl Display) {
        if !self.json {
            let label = self.stderr.paint(Style::new().yellow().bold(), "warning:");
            print_to_stderr(&format!("{label} {text}"));
        }
    }

    /// Says why the command failed and what to do next.
    pub(crate) fn error(&self, error: &CliError) {
        if self.json {
            return print_json_error(error);
        }
        let label = self.stderr.paint(Style::new().red().bold(), "error:");
        print_to_stderr(&format!("{label} {}", untrusted::clean(error.message())));
        if let Some(hint) = error.hint() {
            let label = self.stderr.paint(Style::new().cyan(), "hint:");
            print_to_stderr(&format!("{label} {hint}"));
        }
    }

    /// Starts a spinner, if someone watches. It goes when it is dropped.
    pub(crate) fn spinner(&self, message: impl Into<String>) -> Spinner {
        let watched = self.stderr.is_terminal && !self.quiet && !self.json;
        Spinner(watched.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.set_message(message.into());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }
}

/// A spinner that may not be there.
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(crate) fn message(&self, message: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(message.into());
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Prints an error as JSON, in the API's form with the hint beside it.
pub(crate) fn print_json_error(error: &CliError) {
    let value = json!({ "error": error.message(), "code": error.code(), "hint": error.hint() });
    print_to_stderr(&untrusted::escape_json(&value.to_string()));
}

fn print_to_stderr(line: &str) {
    // If standard error is gone, there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
