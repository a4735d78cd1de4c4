//! The commented sample of `clawmachine.toml`, written from the settings' own documentation.

use std::fmt::Write;

use super::{
    SECTIONS,
    layers::{Initial, Setting},
};

const HEADER: &str = "\
# clawmachine.toml: every setting of `claw serve`, with its default or an example.
#
# Looked for as --config FILE, $CLAW_CONFIG, ./clawmachine.toml, ~/.config/clawmachine/clawmachine.toml and
# /etc/clawmachine/clawmachine.toml; the first one found is used. A flag (--set KEY=VALUE) comes before a variable,
# a variable before this file. Names that do not exist and values that cannot be used stop the start.
";

/// Returns the sample.
pub(crate) fn sample() -> String {
    let mut text = HEADER.to_owned();
    for section in SECTIONS {
        text.push('\n');
        if !section.name.is_empty() {
            push_comment(&mut text, section.doc);
            push_line(&mut text, &format!("[{}]\n", section.name));
        }
        for setting in section.settings {
            push_setting(&mut text, section.name, setting);
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

fn push_setting(text: &mut String, section: &str, setting: &Setting) {
    push_comment(text, setting.doc);
    if !setting.variables.is_empty() {
        push_line(text, &format!("# Variable: {}", setting.variables.join(", ")));
    }
    let name = setting.key.strip_prefix(section).unwrap_or(setting.key).trim_start_matches('.');
    let (value, note) = match setting.initial {
        Initial::Default(value) => (value, ""),
        Initial::Example(value) => (value, "  # example; not set by default"),
    };
    push_line(text, &format!("#{name} = {value}{note}\n"));
}

fn push_comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        push_line(text, format!("# {}", line.trim()).trim_end());
    }
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
