//! What a container wrote.

use claw_core::{Action, Actor, Resource, Timestamp};
use claw_docker::LogsQuery;

use super::{Containers, Result};
use crate::masking;

/// Lines unless asked otherwise.
const DEFAULT_TAIL: u32 = 100;

/// Most lines.
const MAX_TAIL: u32 = 1000;

/// Most bytes of an answer; the newest count.
const MAX_BYTES: usize = 1 << 20;

/// Which part of a container's log to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// How many of the newest lines; 100 if not said, and never more than 1000.
    pub tail: Option<u32>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Not newer than this.
    pub until: Option<Timestamp>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
}

impl Containers {
    /// Returns what a container wrote, both its outputs together. Values of its variables that look like secrets are
    /// hidden, and so is what would steer a terminal.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`crate::HomelabError::ContainerNotFound`]; [`crate::HomelabError::Docker`].
    pub async fn logs(&self, actor: &Actor, container: &str, request: LogsRequest) -> Result<String> {
        let core = &self.core;
        core.gate.permit(actor, Action::ContainersRead, &Resource::Any)?;
        let found = core.find(container).await?;
        let details = core.docker.inspect(&found.id).await?;
        let query = LogsQuery {
            tail: Some(request.tail.unwrap_or(DEFAULT_TAIL).min(MAX_TAIL)),
            since: request.since,
            until: request.until,
            timestamps: request.timestamps,
            follow: false,
        };
        let text = core.docker.log_text(&found.id, query, MAX_BYTES).await?.text;
        let environment = details.environment.iter().map(|variable| (&*variable.name, &*variable.value));
        Ok(plain(&masking::hide(text, &masking::secret_values(environment))))
    }
}

/// Leaves out what is no text: sequences that steer a terminal, other control characters, and characters that change the
/// direction of text or cannot be seen.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' | '\t' => plain.push(c),
            '\u{1b}' => match characters.next() {
                // Up to a final byte.
                Some('[') => {
                    while let Some(c) = characters.next_if(|c| *c != '\n') {
                        if ('@'..='~').contains(&c) {
                            break;
                        }
                    }
                }
                // Up to a bell, the escape of a string terminator, or the end of the line, so that none hides what follows.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = characters.next_if(|c| *c != '\n') {
                        match c {
                            '\u{7}' => break,
                            '\u{1b}' => {
                                characters.next_if_eq(&'\\');
                                break;
                            }
                            _ => {}
                        }
                    }
                }
                Some('\n') => plain.push('\n'),
                Some(_) | None => {}
            },
            c if c.is_control() => {}
            '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t11_what_a_container_writes_cannot_steer_a_terminal_or_hide_text() {
        for (written, shown) in [
            ("a\n\tb\r\n", "a\n\tb\n"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x\u{1b}]52;c;aGk=\u{1b}\\y", "xy"),
            ("\u{1b}(Bz\u{1b}", "Bz"),
            ("\u{1b}]never ended\nnext\u{1b}[12\nlast", "\nnext\nlast"),
            ("one\u{202e}two\u{200b}\u{0}", "onetwo"),
            ("äöü 漢字 🦀", "äöü 漢字 🦀"),
        ] {
            assert_eq!(plain(written), shown, "{written:?}");
        }
    }
}
