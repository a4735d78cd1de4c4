//! What the documents say of routes, scopes, codes, settings, variables and commands is what the code has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use claw_core::{ErrorCode, Scope};
use serde_json::Value;

/// Every document for people but those that other tests hold to the code (`mcp.md`, the skill) or that tell of the past.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/homelab.md",
    "docs/operations.md",
    "docs/performance.md",
    "marketplace/README.md",
    "deploy/docker-compose.yml",
];

/// Scopes that keys can have and nothing asks for yet.
const FOR_LATER: [&str; 3] = ["chat:", "schedules:", "skills:"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backticks, outside of blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (number, block) in text.split("```").enumerate() {
        if number % 2 == 0 {
            let lines = block.lines();
            found.extend(lines.flat_map(|line| line.split('`').skip(1).step_by(2)));
        }
    }
    found
}

/// What is typed after `$` in blocks, with lines that go on put together, and without remarks.
fn typed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        for line in block.replace("\\\n", " ").lines() {
            if let Some(typed) = line.trim().strip_prefix("$ ") {
                found.push(typed.split(" # ").next().unwrap_or_default().trim().to_owned());
            }
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "the program under test, started as a user would start it")]
fn claw(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_claw")).args(arguments).env_clear().output().expect("claw");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is wrong, by document.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn check(&mut self, is_there: bool, document: &str, what: impl AsRef<str>) {
        if !is_there {
            self.0.push(format!("{document}: {}", what.as_ref()));
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "the documents name what there is not:\n{}", self.0.join("\n"));
    }
}

#[test]
fn b18_every_route_in_the_documents_is_a_route_of_the_server() {
    let description: Value = serde_json::from_str(&read("docs/openapi.json")).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    // A parameter stands for whatever the document writes in its place.
    let fits = |route: &str, path: &str| {
        let (route, path): (Vec<_>, Vec<_>) =
            (route.trim_matches('/').split('/').collect(), path.trim_matches('/').split('/').collect());
        let same = |(one, other): (&&str, &&str)| one == other || other.starts_with('{');
        route.len() <= path.len() && route.iter().zip(&path).all(same) && {
            // The beginning of several routes is one as well.
            route.len() == path.len() || !route.contains(&"")
        }
    };
    let is_whole = |route: &str, path: &str| {
        fits(route, path)
            && route.trim_matches('/').matches('/').count() == path.trim_matches('/').matches('/').count()
    };
    let (mut wrong, mut seen) = (Wrong::default(), 0);
    for document in DOCUMENTS {
        let text = read(document);
        // A table may begin with `route below ...`.
        let mut below = "";
        for line in text.lines() {
            if line.is_empty() {
                below = "";
            }
            if let Some((_, rest)) = line.split_once("route below `") {
                below = rest.split('`').next().unwrap_or_default();
            }
            let mut method = None;
            for token in line.split('`').skip(1).step_by(2) {
                let (named, route) = match token.split_once(' ') {
                    Some((named, route)) if named.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                        (Some(named.to_ascii_lowercase()), route)
                    }
                    _ => (None, token),
                };
                method = named.or(method);
                let route = match route.split(['?', ' ', '…']).next() {
                    Some(route) if route.starts_with("/api/") => route.to_owned(),
                    Some(route) if !below.is_empty() && route.starts_with('/') => format!("{below}{route}"),
                    _ => continue,
                };
                seen += 1;
                let found = paths.iter().any(|(path, operations)| match &method {
                    Some(method) => is_whole(&route, path) && operations.get(method).is_some(),
                    None => fits(&route, path),
                });
                wrong.check(found, document, format!("`{token}` is no route of docs/openapi.json"));
            }
        }
    }
    assert!(seen > 15, "only {seen} routes were found in the documents");
    wrong.none();
}

#[test]
fn b18_every_scope_is_described_and_every_one_that_is_named_exists() {
    let scopes: BTreeSet<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let families: BTreeSet<&str> = scopes.iter().filter_map(|scope| scope.split(':').next()).collect();
    let (mut wrong, mut named) = (Wrong::default(), BTreeSet::new());
    for document in DOCUMENTS {
        let text = read(document);
        let typed = typed(&text).join(" ");
        let in_commands = typed.split_ascii_whitespace();
        for token in quoted(&text).into_iter().chain(in_commands) {
            let Some((family, deed)) = token.split_once(':') else { continue };
            let looks = families.contains(family) && !deed.is_empty();
            if looks && deed.bytes().all(|byte| byte.is_ascii_lowercase()) {
                wrong.check(scopes.contains(token), document, format!("`{token}` is no scope"));
                named.insert(token.to_owned());
            }
        }
    }
    let guards =
        |scope: &&str| scope.contains(':') && !FOR_LATER.iter().any(|begin| scope.starts_with(begin));
    for scope in scopes.into_iter().filter(guards) {
        wrong.check(
            named.contains(scope),
            "all documents",
            format!("the scope `{scope}` is described nowhere"),
        );
    }
    wrong.none();
}

#[test]
fn b18_every_code_setting_and_variable_in_the_documents_exists() {
    let sample = claw(&["config", "sample"]);
    let codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let settings = settings(&sample);
    let tables: BTreeSet<&str> =
        settings.iter().filter_map(|name| name.split_once('.')).map(|(table, _)| table).collect();
    // Variables that clients, scripts and the one-file install have besides the server.
    let others = [claw(&["--help"]), claw(&["submit", "--help"]), read("scripts/test"), read("scripts/run")];
    let others = others.concat() + &read("deploy/docker-compose.yml");
    let mut wrong = Wrong::default();
    for document in DOCUMENTS {
        let text = read(document);
        for token in quoted(&text) {
            let token = token.split(['=', ' ']).next().unwrap_or_default();
            let is_word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit();
            if token.len() > 3 && token.contains('_') && token.bytes().all(is_word) {
                let ours = token.starts_with("CLAW_") || token.starts_with("WAGMIOS_");
                let known = sample.contains(token) || others.contains(token);
                let other = ["ANTHROPIC_", "CLAUDE_", "DOCKER_", "OTEL_", "RUST_", "UPDATE_", "XDG_"];
                let others_own = other.iter().any(|begin| token.starts_with(begin));
                wrong.check(
                    known || codes.contains(token) || (!ours && others_own),
                    document,
                    format!("`{token}` is neither a code nor a variable"),
                );
            }
            if let Some((table, _)) = token.split_once('.')
                && tables.contains(table)
                && token.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
                // Verbs of the audit trail look alike, and so do files.
                && !token.ends_with('.')
                && !["toml", "json", "yaml", "db", "md"].iter().any(|end| token.ends_with(&format!(".{end}")))
            {
                let shown = if token.ends_with('_') { "" } else { token };
                wrong.check(settings.contains(shown), document, format!("`{token}` is no setting"));
            }
        }
    }
    wrong.none();
}

/// The names of all settings, as `table.name`.
fn settings(sample: &str) -> BTreeSet<String> {
    let (mut table, mut names) = (String::new(), BTreeSet::new());
    for line in sample.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((name, _)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
            names.insert(format!("{table}{name}"));
        }
    }
    names
}

#[test]
fn b18_every_command_in_the_documents_is_one_with_those_flags() {
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut help = |of: &[&str]| -> String {
        let key: Vec<String> = of.iter().map(|&word| word.to_owned()).collect();
        helps.entry(key).or_insert_with(|| claw(&[of, &["--help"]].concat())).clone()
    };
    let (mut wrong, mut seen) = (Wrong::default(), 0);
    for document in DOCUMENTS {
        let text = read(document);
        let typed = typed(&text);
        let inline = quoted(&text).into_iter().map(str::to_owned);
        for command in typed.into_iter().chain(inline) {
            let begin = command.split_once("claw ").filter(|(before, _)| {
                // `docker exec clawmachine claw …` and variables before it are commands of ours too.
                before.is_empty() || before.ends_with(' ')
            });
            let Some((before, words)) = begin else { continue };
            if !before.is_empty() && !before.contains('=') && !before.contains("exec") {
                continue;
            }
            let words: Vec<&str> = words.split_ascii_whitespace().take_while(|word| *word != "|").collect();
            let Some((first, rest)) =
                words.split_first().filter(|(first, _)| !first.starts_with(['-', '…', '<']))
            else {
                continue;
            };
            seen += 1;
            for first in first.split('|') {
                if !is_listed(&help(&[]), first) {
                    wrong.check(false, document, format!("`claw {first}` is no command"));
                    continue;
                }
                let of_first = help(&[first]);
                let has_more = of_first.contains("\nCommands:\n");
                let seconds: Vec<&str> = match rest.first() {
                    Some(second) if has_more && !second.starts_with('-') => second.split('|').collect(),
                    _ => Vec::new(),
                };
                let flags = rest.iter().filter(|word| word.starts_with("--") && word.len() > 2);
                let flags: Vec<&str> =
                    flags.map(|flag| flag.split(['=', ']', ')']).next().unwrap_or(flag)).collect();
                if seconds.is_empty() {
                    for flag in &flags {
                        wrong.check(
                            of_first.contains(flag),
                            document,
                            format!("`claw {first}` has no {flag}"),
                        );
                    }
                }
                for second in seconds {
                    if !is_listed(&of_first, second) {
                        wrong.check(false, document, format!("`claw {first} {second}` is no command"));
                        continue;
                    }
                    let of_second = help(&[first, second]);
                    for flag in &flags {
                        let found = of_second.contains(flag);
                        wrong.check(found, document, format!("`claw {first} {second}` has no {flag}"));
                    }
                }
            }
        }
    }
    assert!(seen > 30, "only {seen} commands were found in the documents");
    wrong.none();
}

/// Whether a help text lists a command, or another name of one.
fn is_listed(help: &str, command: &str) -> bool {
    help.lines().any(|line| {
        let mut words = line.strip_prefix("  ").unwrap_or_default().split_ascii_whitespace();
        line.starts_with("  ") && words.next() == Some(command)
            || line.contains(&format!("[alias: {command}]"))
    })
}

#[test]
fn b18_every_file_that_a_document_links_to_is_there() {
    let mut wrong = Wrong::default();
    for document in DOCUMENTS.iter().filter(|document| document.ends_with(".md")) {
        let text = read(document);
        let folder = root().join(document).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let is_ours = !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:");
            wrong.check(!is_ours || folder.join(path).exists(), document, format!("{link} is not there"));
        }
    }
    wrong.none();
}
