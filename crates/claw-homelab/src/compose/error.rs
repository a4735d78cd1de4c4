//! What is wrong with a compose file, and where.

use std::fmt;

use claw_core::{Coded, ErrorCode};

/// Longest part of a file that is quoted in a message, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// Why a compose file is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeError {
    /// The place in the document, such as `services.web.ports[0]`; empty for the document as a whole.
    pub path: String,
    /// The line, counted from 1; 0 if no line is meant.
    pub line: usize,
    /// What is wrong there and what to do about it.
    pub message: String,
    /// The variable that the file needs and that was not given, if this is what is wrong.
    pub missing: Option<String>,
}

impl ComposeError {
    pub(crate) fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into(), missing: None }
    }
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ComposeError {}

impl Coded for ComposeError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidComposeFile
    }
}

/// Returns a piece of a file as it may stand in a message: short, on one line, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTED_CHARS)
        .map(|c| if c.is_control() || is_deceptive(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Tells whether a character changes how its neighbors are shown, so that people read something else than programs do.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
