//! The table of faults and threats in `docs/` names the tests that there are, and every line has one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const DOCUMENT: &str = "docs/faults-and-threats.md";

/// Set to write the last column of the tables anew.
const UPDATE: &str = "UPDATE_DOCS";

/// Begin the last column of lines that no test shows: there is no place for the fault in this version, or it is not ruled
/// out by a test.
const WITHOUT_TESTS: [&str; 2] = ["*Not there*", "*Open*"];

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever writes the document anew says so with a variable")]
fn every_known_fault_and_threat_has_tests_that_bear_its_id() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(DOCUMENT);
    let document = fs::read_to_string(&path).expect("the document");
    let tests = tests_by_id(&root.join("crates"));

    let (wanted, problems) = with_tests(&document, &tests);

    assert!(problems.is_empty(), "{DOCUMENT}:\n{}", problems.join("\n"));
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &wanted).expect("the document is written");
    } else {
        assert!(
            wanted == document,
            "{DOCUMENT} does not name the tests there are: run this test once with {UPDATE}=1"
        );
    }
}

/// Returns the document with its last column written anew, and what is wrong with it.
fn with_tests(document: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> (String, Vec<String>) {
    let (mut wanted, mut problems, mut seen) = (String::new(), Vec::new(), BTreeSet::new());
    for line in document.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let row = match cells[..] {
            ["", id, about, shown, ""] if id.starts_with(|c: char| c.is_ascii_uppercase()) => {
                seen.insert(id.to_ascii_lowercase());
                Some((id, about, shown, tests.get(&id.to_ascii_lowercase())))
            }
            _ => None,
        };
        match row {
            None => wanted.push_str(line),
            Some((id, about, shown, None)) => {
                if !WITHOUT_TESTS.iter().any(|mark| shown.starts_with(mark)) {
                    problems.push(format!("{id}: no test's name begins with {}_", id.to_ascii_lowercase()));
                }
                wanted.push_str(&format!("| {id} | {about} | {shown} |"));
            }
            Some((id, about, _, Some(names))) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                wanted.push_str(&format!("| {id} | {about} | {} |", names.join(", ")));
            }
        }
        wanted.push('\n');
    }
    let unknown = tests.keys().filter(|id| !seen.contains(*id));
    problems.extend(unknown.map(|id| format!("{id}: tests bear an id that no line has: {:?}", tests[id])));
    (wanted, problems)
}

/// Returns the names of all tests that begin with ids, such as `s1_t24_hooks_do_not_run`, under each of their ids.
fn tests_by_id(crates: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(crates) {
        let source = fs::read_to_string(&file).expect("a source file");
        let mut marked = false;
        for line in source.lines().map(str::trim) {
            let case = line.strip_suffix(',').filter(|name| name.chars().all(is_name_char));
            if let Some(name) = case {
                // A case of the store's conformance suite, which becomes a test for each engine.
                for id in ids(name) {
                    tests.entry(id.to_owned()).or_default().insert(name.to_owned());
                }
            } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
                marked = false;
                let name = rest.split(['(', '<']).next().unwrap_or(rest);
                for id in ids(name) {
                    tests.entry(id.to_owned()).or_default().insert(name.to_owned());
                }
            }
        }
    }
    tests
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

fn ids(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').take_while(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| "abcdsoprt".contains(c))
            && chars.as_str().parse::<u16>().is_ok_and(|number| number > 0)
    })
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn t29_s45_no_program_is_started_through_a_shell() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for file in rust_files(&crates) {
        let path = file.to_string_lossy().into_owned();
        if !path.contains("/src/")
            || path.contains("/claw-testkit/")
            || path.contains("/tests")
            || path.ends_with("_tests.rs")
        {
            continue;
        }
        let source = fs::read_to_string(&file).expect("a source file");
        // Tests stand at the end of their module, and may use what they like.
        let product = source.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            let shells = ["sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash", "/usr/bin/env"];
            let is_shell = shells.iter().any(|shell| line.contains(&format!("Command::new(\"{shell}\")")));
            if is_shell || line.contains("\"-c\"") || line.contains("\"-lc\"") {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn ids_are_read_from_the_beginning_of_a_name_only() {
    assert_eq!(ids("s1_t24_hooks_do_not_run").collect::<Vec<_>>(), ["s1", "t24"]);
    assert_eq!(ids("a_store_of_version_1_opens").count(), 0);
    assert_eq!(ids("s_3").count(), 0);
    assert_eq!(ids("a10_b14_the_file_alone").collect::<Vec<_>>(), ["a10", "b14"]);
}
