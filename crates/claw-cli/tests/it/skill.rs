//! The agent skill names only what exists. That its examples work is shown by the end-to-end tests.

#[expect(dead_code, reason = "shared with the tests that run the examples")]
pub(crate) mod text;

use std::collections::BTreeSet;

use claw_core::{ErrorCode, Scope};
use claw_homelab::marketplace::Catalog;
use claw_mcp::Need;
use serde_json::Value;

use self::text::{Page, folder, is_code, is_scope, page, pages, quoted, route};

/// Routes that agents have no use for: other names of the same, and what is for pages of browsers.
const NOT_FOR_AGENTS: [&str; 6] = [
    "POST /api/containers/pull",
    "POST /api/containers/{id}/delete",
    "GET /api/marketplace/{id}/logo",
    "GET /api/proxy-image",
    "GET /api/ws/activity",
    "POST /api/ws/ticket",
];

/// Groups of routes that are covered whole.
const COVERED: [&str; 6] = ["containers", "images", "templates", "marketplace", "system", "activity"];

/// The operations that the server offers, as its own document lists them.
struct Operations(Value);

impl Operations {
    fn read() -> Self {
        let document = include_str!("../../../../docs/openapi.json");
        Self(serde_json::from_str(document).expect("the OpenAPI document is JSON"))
    }

    fn all(&self) -> impl Iterator<Item = (String, &str, &Value)> {
        let paths = self.0["paths"].as_object().expect("paths");
        paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods
                .iter()
                .map(move |(method, operation)| (method.to_ascii_uppercase(), path.as_str(), operation))
        })
    }

    /// The operation behind a request. Segments that are written out come before those that stand for any.
    fn find(&self, method: &str, path: &str) -> Option<(String, &Value)> {
        let wanted: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| -> Option<usize> {
            let mut plain = 0;
            let segments: Vec<&str> = template.split('/').collect();
            for (index, segment) in segments.iter().enumerate() {
                let given = wanted.get(index)?;
                match *segment {
                    "{path}" if !given.is_empty() => return Some(plain),
                    segment if segment.starts_with('{') && !given.is_empty() => {}
                    segment if segment == *given => plain += 1,
                    _ => return None,
                }
            }
            (segments.len() == wanted.len()).then_some(plain)
        };
        self.all()
            .filter(|(known, ..)| known == method)
            .filter_map(|(_, template, operation)| Some((fits(template)?, template, operation)))
            .max_by_key(|(plain, ..)| *plain)
            .map(|(_, template, operation)| (format!("{method} {template}"), operation))
    }

    fn scope(operation: &Value) -> &str {
        operation["x-scope"].as_str().unwrap_or("nothing")
    }
}

/// Every route that the skill names, in words or in an example, with the place.
fn named_routes() -> Vec<(String, String, String)> {
    let mut named = Vec::new();
    for page in pages() {
        for word in page.quoted() {
            if let Some((method, path)) = route(&word) {
                named.push((page.name.clone(), method.to_owned(), path.to_owned()));
            }
        }
        for example in page.examples() {
            let path = example.path.split('?').next().unwrap_or_default().to_owned();
            named.push((example.place, example.method, path));
        }
    }
    named
}

#[test]
fn every_route_that_the_skill_names_exists_and_no_route_for_agents_is_missing() {
    let operations = Operations::read();

    let mut known = BTreeSet::new();
    for (place, method, path) in named_routes() {
        let Some((route, _)) = operations.find(&method, &path) else {
            panic!("{place}: there is no {method} {path}");
        };
        known.insert(route);
    }

    assert!(known.len() > 50, "the pages were not read: {known:?}");
    for (method, path, operation) in operations.all() {
        let route = format!("{method} {path}");
        let is_covered = COVERED.iter().any(|group| operation["tags"][0] == *group);
        if is_covered && !NOT_FOR_AGENTS.contains(&route.as_str()) {
            assert!(known.contains(&route), "the skill does not tell of {route}");
        }
    }
}

#[test]
fn every_route_needs_the_scope_that_the_skill_says() {
    let operations = Operations::read();

    let mut checked = 0;
    for page in pages() {
        for row in page.rows() {
            let Some(word) = row.first().and_then(|cell| quoted(cell).into_iter().next()) else { continue };
            let Some((method, path)) = route(&word) else { continue };
            let (_, operation) = operations.find(method, path).unwrap_or_else(|| panic!("{word}"));
            let says = row[1];
            let expected = match Operations::scope(operation) {
                "any" => "any key".to_owned(),
                "nothing" => "nothing".to_owned(),
                scope => format!("`{scope}`"),
            };
            assert!(
                says == expected || (expected == "nothing" && says.starts_with("nothing")),
                "{}: {word} needs {expected}, not {says}",
                page.name
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "the tables were not read: {checked}");
}

#[test]
fn every_scope_that_the_skill_names_exists_and_none_is_missing() {
    for page in pages() {
        for word in page.quoted().iter().filter(|word| is_scope(word)) {
            assert!(word.parse::<Scope>().is_ok(), "{}: there is no scope `{word}`", page.name);
        }
    }
    let told: BTreeSet<String> = page("references/scopes.md").quoted().into_iter().collect();
    for scope in Scope::ALL {
        assert!(told.contains(scope.as_str()), "references/scopes.md does not tell of `{scope}`");
    }
}

#[test]
fn every_error_code_that_the_skill_names_exists() {
    let codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();

    let mut named = BTreeSet::new();
    for page in pages() {
        for word in page.quoted().into_iter().filter(|word| is_code(word)) {
            assert!(codes.contains(word.as_str()), "{}: there is no code `{word}`", page.name);
            named.insert(word);
        }
        for example in page.examples() {
            let answer = example.answer.unwrap_or_default();
            if let Some(code) = answer["error"]["code"].as_str().or(answer["code"].as_str()) {
                assert!(codes.contains(code), "{}: there is no code {code}", example.place);
            }
        }
    }
    assert!(named.len() > 30, "the pages were not read: {named:?}");
}

#[test]
fn every_tool_that_the_skill_names_exists_and_none_is_missing() {
    let mut named = BTreeSet::new();
    for row in page("references/scopes.md").rows().iter().filter(|row| row.len() == 3) {
        for tool in quoted(row[2]) {
            let found =
                claw_mcp::tools::find(&tool).unwrap_or_else(|| panic!("there is no tool `{tool}`: {row:?}"));
            let needs = match found.need {
                Need::Scopes(scopes) => scopes.iter().map(|scope| scope.to_string()).collect(),
                Need::AnyKey | Need::NamedHosts => Vec::new(),
            };
            assert_eq!(needs, quoted(row[1]), "`{tool}`");
            named.insert(tool);
        }
    }
    for tool in claw_mcp::tools::ALL {
        assert!(named.contains(tool.name), "references/scopes.md does not tell of `{}`", tool.name);
    }
}

#[test]
fn the_skill_lists_the_catalog_as_it_is() {
    let mut told = BTreeSet::new();
    for row in page("references/marketplace.md").rows().iter().filter(|row| row.len() == 2) {
        for app in row[1].split(", ").filter(|app| app.starts_with('`')) {
            let mut words = app.split([' ', '`']).filter(|word| !word.is_empty());
            let (id, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            told.insert((row[0].to_owned(), id.to_owned(), port.to_owned()));
        }
    }

    let catalog: BTreeSet<_> = Catalog::built_in()
        .list()
        .into_iter()
        .map(|app| (app.about.category.clone(), app.about.id.clone(), app.about.port.to_string()))
        .collect();
    assert_eq!(told, catalog);
}

#[test]
fn the_skill_is_well_formed_and_fits_in_a_models_context() {
    let entry = page("SKILL.md");
    let front = entry.text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    let (front, _) = front.expect("front matter");
    let member = |name: &str| {
        let line = front.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(member("name"), folder().file_name().expect("a name").to_string_lossy());
    assert!(member("description").len() <= 1024, "longer than clients read");

    // A token is about four bytes.
    assert!(entry.text.len() < 8_000, "the entry is read whole, whatever is asked");
    for Page { name, text } in pages() {
        assert!(text.len() < 14_000, "{name} is too long: {}", text.len());
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let from = folder().join(&name);
            let target = from.parent().expect("a folder").join(target);
            assert!(target.is_file(), "{name} points to {}", target.display());
        }
    }
}
