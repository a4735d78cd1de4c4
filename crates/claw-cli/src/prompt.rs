//! Reading from the person or program in front of standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use claw_core::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{error::CliError, output::Output};

/// Longest password line that is read.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Asks a person whether to go on. Programs, and whoever says so with a flag, are not asked.
///
/// # Errors
///
/// Fails when the answer is anything but yes.
pub(crate) fn confirm(output: &Output, yes: bool, question: &str) -> Result<(), CliError> {
    if yes || output.json || !output.stderr.is_terminal || !io::stdin().is_terminal() {
        return Ok(());
    }
    ask(question, io::stdin().lock(), io::stderr().lock())
}

fn ask(question: &str, input: impl BufRead, mut output: impl Write) -> Result<(), CliError> {
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    input.take(MAX_PASSWORD_BYTES).read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::interrupted("nothing was done")),
    }
}

/// Reads all of standard input as text, at most `limit` bytes.
pub(crate) fn read_stdin(limit: usize) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(CliError::usage(format!("standard input holds more than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| CliError::usage("standard input is not UTF-8 text"))
}

/// Reads a password: twice and without showing it from a terminal, else the first line of standard input.
pub(crate) fn read_new_password() -> Result<Secret, CliError> {
    if !io::stdin().is_terminal() {
        return read_secret_line();
    }
    let first = ask_hidden("Password: ")?;
    let second = ask_hidden("Once more: ")?;
    if first != second {
        return Err(CliError::usage("the two passwords differ"));
    }
    Ok(first)
}

/// Reads the first line of standard input as a secret.
pub(crate) fn read_secret_line() -> Result<Secret, CliError> {
    let mut line = String::new();
    io::stdin().lock().take(MAX_PASSWORD_BYTES).read_line(&mut line)?;
    let text = line.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(CliError::usage("standard input is empty; a secret was expected"));
    }
    Ok(Secret::new(text))
}

/// Asks on the terminal with echo off. Signals are off too while it asks, so that Ctrl-C cannot leave the terminal
/// without echo.
fn ask_hidden(question: &str) -> Result<Secret, CliError> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let answer = {
        let _hidden = HiddenInput::start()?;
        read_hidden()
    };
    writeln!(stderr)?;
    answer
}

fn read_hidden() -> Result<Secret, CliError> {
    let mut text = Vec::new();
    for byte in io::stdin().lock().take(MAX_PASSWORD_BYTES).bytes() {
        match byte? {
            b'\n' | b'\r' => break,
            // Ctrl-C and Ctrl-D.
            3 | 4 => return Err(CliError::usage("no password was given")),
            8 | 127 => while text.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            byte => text.push(byte),
        }
    }
    let text = String::from_utf8(text).map_err(|_| CliError::usage("the password is not UTF-8 text"))?;
    Ok(Secret::new(text))
}

/// Gives the terminal its former modes back when dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    fn start() -> io::Result<Self> {
        let former = tcgetattr(io::stdin())?;
        let mut modes = former.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self(former))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // The terminal may be gone, and then nobody needs its modes.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        let mut asked = Vec::new();

        ask("Delete it?", "yes\n".as_bytes(), &mut asked).expect("a yes");

        assert_eq!(asked, b"Delete it? [y/N] ");
        assert!(ask("?", "Y".as_bytes(), io::sink()).is_ok());
        for answer in ["", "\n", "n\n", "yess\n", "no yes\n"] {
            let error = ask("?", answer.as_bytes(), io::sink()).expect_err(answer);
            assert_eq!((error.message(), error.exit_code()), ("nothing was done", 130));
        }
    }
}
