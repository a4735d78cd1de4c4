//! `docs/mcp.md` says what the programs do.

use std::{collections::BTreeSet, path::Path, process::Command};

use claw_mcp::Need;

use crate::skill::text::quoted;

const DOCUMENT: &str = include_str!("../../../../docs/mcp.md");

/// The clients in the order of the document.
const CLIENTS: [&str; 7] =
    ["claude-code", "claude-desktop", "cursor", "vscode", "gemini", "codex", "generic"];

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `clawmachine`, which a build of the workspace puts beside `claw`.
fn clawmachine(arguments: &[&str]) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_claw")).with_file_name("clawmachine");
    assert!(program.is_file(), "{} is missing: run `cargo build -p claw-mcp`", program.display());
    #[expect(clippy::disallowed_methods, reason = "the program under test, started as a user would start it")]
    let output = Command::new(program).args(arguments).env_clear().output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code().expect("a code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The fenced blocks of a kind.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let begin = format!("```{kind}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default()).collect()
}

#[test]
fn the_program_prints_for_each_client_what_the_documentation_says() {
    let mut place = 0;
    for client in CLIENTS {
        let ran = clawmachine(&["config", client]);

        assert_eq!(ran.code, 0, "{client}: {}", ran.stderr);
        let found = DOCUMENT[place..].find(ran.stdout.trim_end());
        place +=
            found.unwrap_or_else(|| panic!("docs/mcp.md says something else for {client}:\n{}", ran.stdout));
    }
    let unknown = clawmachine(&["config", "emacs"]);
    assert_eq!(unknown.code, 1);
    assert!(CLIENTS.iter().all(|client| unknown.stderr.contains(client)), "{}", unknown.stderr);
}

#[test]
fn every_configuration_is_well_formed_and_has_one_server_of_this_name() {
    let mut seen = 0;
    for client in CLIENTS {
        let text = clawmachine(&["config", client]).stdout;
        for block in blocks(&text, "json") {
            let config: serde_json::Value =
                serde_json::from_str(block).unwrap_or_else(|error| panic!("{client}: {error}: {block}"));
            let servers = config.get("mcpServers").or(config.get("servers")).expect("servers");
            let server = &servers["clawmachine"];
            assert!(
                server["command"].is_string() ^ (server["url"].is_string() || server["httpUrl"].is_string())
            );
            seen += 1;
        }
        for block in blocks(&text, "toml") {
            let config: toml::Table =
                block.parse().unwrap_or_else(|error| panic!("{client}: {error}: {block}"));
            assert!(config["mcp_servers"]["clawmachine"].is_table());
            seen += 1;
        }
    }
    assert_eq!(seen, 12);
    for block in blocks(DOCUMENT, "json") {
        serde_json::from_str::<serde_json::Value>(block).unwrap_or_else(|error| panic!("{error}: {block}"));
    }
}

#[test]
fn d17_every_tool_is_told_beside_its_scope() {
    let mut told = BTreeSet::new();
    for line in DOCUMENT.lines().filter(|line| line.starts_with("| `") || line.starts_with("| any key")) {
        let Some((scope, tools)) = line.trim_matches('|').split_once(" | ") else { continue };
        let scope = scope.trim().trim_matches('`');
        if scope != "any key" && scope.parse::<claw_core::Scope>().is_err() {
            continue;
        }
        for tool in quoted(tools).into_iter().filter(|word| !word.contains(':')) {
            let found = claw_mcp::tools::find(&tool).unwrap_or_else(|| panic!("there is no tool `{tool}`"));
            match found.need {
                Need::Scopes(scopes) => assert_eq!(scopes[0].as_str(), scope, "{tool}"),
                Need::AnyKey | Need::NamedHosts => assert_eq!(scope, "any key", "{tool}"),
            }
            told.insert(tool);
        }
    }
    let all: BTreeSet<String> = claw_mcp::tools::ALL.iter().map(|tool| tool.name.to_owned()).collect();
    assert_eq!(told, all);
}

#[test]
fn every_flag_and_variable_in_the_documentation_is_one_of_the_program() {
    let usage = clawmachine(&["-help"]).stderr;
    let flags: BTreeSet<&str> =
        usage.lines().filter_map(|line| line.strip_prefix("  -")?.split_whitespace().next()).collect();
    assert!(flags.len() > 10, "{usage}");

    for word in quoted_words(DOCUMENT) {
        for name in word
            .split_whitespace()
            .filter(|word| word.starts_with("WAGMIOS_") || word.starts_with("CLAWMACHINE_"))
        {
            assert!(usage.contains(name), "clawmachine does not know {name}");
        }
        // Flags stand alone, or behind the program's name.
        if word.starts_with('-') || word.starts_with("clawmachine ") {
            for flag in word.split_whitespace().filter_map(|word| word.strip_prefix('-')) {
                assert!(flags.contains(flag), "clawmachine has no -{flag}");
            }
        }
    }
}

fn quoted_words(text: &str) -> impl Iterator<Item = String> {
    let mut is_fenced = false;
    text.lines()
        .filter(move |line| {
            if line.starts_with("```") {
                is_fenced = !is_fenced;
                return false;
            }
            !is_fenced
        })
        .flat_map(quoted)
}
