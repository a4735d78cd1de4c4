//! The agent skill as text: its pages, what they name, and the examples in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A page of the skill.
pub(crate) struct Page {
    /// Its path below the skill's folder.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The folder of the skill.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills/clawmachine")
}

/// Every page, the entry first.
pub(crate) fn pages() -> Vec<Page> {
    let mut names: Vec<String> = std::fs::read_dir(folder().join("references"))
        .expect("the references")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .map(|name| format!("references/{name}"))
        .collect();
    names.sort();
    names.insert(0, "SKILL.md".to_owned());
    names.into_iter().map(|name| page(&name)).collect()
}

/// One page.
pub(crate) fn page(name: &str) -> Page {
    let text = std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Page { name: name.to_owned(), text }
}

/// A request in a page, and the answer that the page shows behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Example {
    /// Page and line, for people.
    pub(crate) place: String,
    pub(crate) method: String,
    /// Path and query, with placeholders in braces.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) answer: Option<Value>,
    /// What the line before says that it needs, if it says more than the route does.
    pub(crate) scopes: Vec<String>,
}

impl Example {
    fn parse(place: String, block: &str, before: &str) -> Self {
        let (head, body) = block.split_once("\n\n").unwrap_or((block, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_else(|| panic!("{place}: an empty request"));
        let (method, path) = first.split_once(' ').unwrap_or_else(|| panic!("{place}: `{first}`"));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{place}: header `{line}`"));
            (name.to_owned(), value.to_owned())
        };
        let body = Some(body.trim()).filter(|body| !body.is_empty());
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: lines.map(header).collect(),
            body: body.map(|body| json(&place, body)),
            answer: None,
            scopes: quoted(before).into_iter().filter(|word| is_scope(word)).collect(),
            place,
        }
    }
}

fn json(place: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: no JSON ({error}): {text}"))
}

impl Page {
    /// The requests of the page in their order. A block of JSON that follows one is its answer.
    pub(crate) fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        let (mut before, mut is_answered) = (String::new(), true);
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(kind) = line.strip_prefix("```") else {
                if !line.trim().is_empty() {
                    before = line.to_owned();
                    // What stands between a request and a block is about another thing.
                    is_answered = true;
                }
                continue;
            };
            let place = format!("{}:{}", self.name, number + 1);
            let mut block = String::new();
            for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
                block.push_str(line);
                block.push('\n');
            }
            match kind {
                "http" => {
                    examples.push(Example::parse(place, block.trim_end(), &before));
                    is_answered = false;
                }
                "json" => {
                    assert!(!is_answered, "{place}: an answer without a request");
                    is_answered = true;
                    examples.last_mut().expect("a request").answer = Some(json(&place, &block));
                }
                _ => {}
            }
            before.clear();
        }
        examples
    }

    /// Everything between single backticks outside of fenced blocks.
    pub(crate) fn quoted(&self) -> Vec<String> {
        let mut is_fenced = false;
        let mut words = Vec::new();
        for line in self.text.lines() {
            if line.starts_with("```") {
                is_fenced = !is_fenced;
            } else if !is_fenced {
                words.extend(quoted(line));
            }
        }
        words
    }

    /// The cells of each row of each table.
    pub(crate) fn rows(&self) -> Vec<Vec<&str>> {
        let rows = self.text.lines().filter(|line| line.starts_with("| "));
        rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
    }
}

/// What stands between backticks in a line.
pub(crate) fn quoted(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Tells whether a word has the form of a scope.
pub(crate) fn is_scope(word: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    word.split_once(':').is_some_and(|(what, how)| is_word(what) && is_word(how))
}

/// Tells whether a word has the form of an error code.
pub(crate) fn is_code(word: &str) -> bool {
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    word.len() > 2 && word.bytes().all(is_upper) && !is_method(word)
}

fn is_method(word: &str) -> bool {
    matches!(word, "GET" | "POST" | "PUT" | "PATCH" | "DELETE")
}

/// A route that a page names as `METHOD /path`, without its query.
pub(crate) fn route(word: &str) -> Option<(&str, &str)> {
    let (method, path) = word.split_once(' ')?;
    (is_method(method) && path.starts_with('/')).then(|| (method, path.split('?').next().unwrap_or_default()))
}
