//! What the program says while it runs: lines on standard error, as Go writes them.

use std::{fmt::Display, io::Write as _};

use claw_core::{Clock as _, Secret, SystemClock, untrusted};

/// Shorter than any key. What is no key may well be part of a word.
const SHORTEST: usize = 8;

/// Writes lines, in which no key can be read.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    secrets: Vec<Secret>,
}

impl Log {
    /// Returns a log that shows none of these.
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets }
    }

    /// Writes a line, with the date and time before it.
    pub(crate) fn line(&self, line: impl Display) {
        let now = SystemClock.now().to_string();
        let moment = now.get(..19).unwrap_or(&now).replace('-', "/").replace('T', " ");
        // There is nobody else to tell.
        let _ = writeln!(std::io::stderr().lock(), "{moment} {}", self.safe(&line.to_string()));
    }

    /// Returns `text` with the keys left out, and safe to show on a terminal: part of it may come from servers.
    pub(crate) fn safe(&self, text: &str) -> String {
        let mut text = untrusted::clean(text).into_owned();
        for secret in self.secrets.iter().filter(|secret| secret.expose().len() >= SHORTEST) {
            text = text.replace(secret.expose(), "***");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d14_keys_and_control_sequences_that_servers_send_back_are_not_shown() {
        let log = Log::new(vec![Secret::new("wag_live_secret"), Secret::new("")]);

        let safe = log.safe("HTTP 401: no key wag_live_secret here\u{1b}[2J!");

        assert_eq!(safe, "HTTP 401: no key *** here!");
    }
}
