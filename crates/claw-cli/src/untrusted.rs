//! Text that others wrote, made safe to show on a terminal.

pub(crate) use claw_core::untrusted::{clean, clean_line, escape_json};
