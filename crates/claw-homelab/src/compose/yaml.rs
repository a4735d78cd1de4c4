//! YAML into a small tree, within bounds.
//!
//! What compose files do not need is refused here, since each of it is a way to write one thing and mean another:
//! anchors, aliases, merge keys, tags, duplicate keys, keys that are not text, several documents.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::error::{ComposeError, is_deceptive, quoted};

/// Largest file in bytes. The largest one of the catalog has a twentieth of it.
pub(crate) const MAX_BYTES: usize = 128 * 1024;

/// Deepest nesting of lists and mappings. Compose files reach eight.
const MAX_DEPTH: usize = 24;

/// Most values in all.
const MAX_NODES: usize = 10_000;

/// A value and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text as written; what it means is for whoever reads it.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Members in the order of the file, no name twice.
    Map(Vec<(String, Node)>),
}

/// Reads one document. Every scalar value, but no name of a member, passes through `rewrite`, which is told the line.
pub(crate) fn load(
    text: &str,
    rewrite: &mut dyn FnMut(&str, usize) -> Result<String, ComposeError>,
) -> Result<Node, ComposeError> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; {MAX_BYTES} are the most", text.len());
        return Err(ComposeError::new("", 0, message));
    }
    if let Some((index, found)) = text.lines().enumerate().find_map(|(index, line)| {
        let odd = |c: char| (c.is_control() && c != '\t' && c != '\r') || is_deceptive(c);
        line.chars().find(|c| odd(*c)).map(|found| (index, found))
    }) {
        let message = format!("the character U+{:04X} does not belong into a compose file", u32::from(found));
        return Err(ComposeError::new("", index + 1, message));
    }
    let mut loader = Loader { parser: Parser::new_from_str(text), nodes: 0, rewrite };
    loader.document()
}

struct Loader<'a, 'b> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
    rewrite: &'b mut dyn FnMut(&str, usize) -> Result<String, ComposeError>,
}

impl<'a> Loader<'a, '_> {
    fn document(&mut self) -> Result<Node, ComposeError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::Nothing, _) => {}
                (Event::DocumentStart(_), _) => break,
                (_, line) => return Err(ComposeError::new("", line, "the file is empty")),
            }
        }
        let (event, line) = self.next()?;
        let node = self.node(event, line, 0)?;
        loop {
            match self.next()? {
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::StreamEnd, _) => return Ok(node),
                (_, line) => {
                    return Err(ComposeError::new("", line, "only one YAML document may stand in the file"));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, usize), ComposeError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, line_of(&span))),
            Some(Err(error)) => {
                let message = format!("not YAML: {}", quoted(error.info()));
                Err(ComposeError::new("", error.marker().line(), message))
            }
            None => Err(ComposeError::new("", 0, "not YAML: the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, ComposeError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(ComposeError::new("", line, format!("the file has more than {MAX_NODES} values")));
        }
        if depth > MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} deep");
            return Err(ComposeError::new("", line, message));
        }
        let (anchor, tag) = match &event {
            Event::Alias(_) => return Err(repeated(line)),
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag),
            _ => return Err(ComposeError::new("", line, "not YAML: a value is missing")),
        };
        if anchor != 0 {
            return Err(repeated(line));
        }
        if let Some(tag) = tag {
            let message = format!("the tag `{}` is not taken: leave it out", quoted(&tag.to_string()));
            return Err(ComposeError::new("", line, message));
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, line)?,
            Event::SequenceStart(..) => self.list(depth)?,
            _ => self.map(depth)?,
        };
        Ok(Node { line, value })
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize) -> Result<Value, ComposeError> {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Ok(Value::Null);
        }
        check_characters(text, line)?;
        Ok(Value::Scalar((self.rewrite)(text, line)?))
    }

    fn list(&mut self, depth: usize) -> Result<Value, ComposeError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ComposeError> {
        let mut members: Vec<(String, Node)> = Vec::new();
        let mut names = HashSet::new();
        loop {
            let (event, line) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(members)),
                Event::Alias(_) => return Err(repeated(line)),
                Event::Scalar(_, _, anchor, _) if anchor != 0 => return Err(repeated(line)),
                Event::Scalar(name, _, _, None) => name.into_owned(),
                _ => return Err(ComposeError::new("", line, "a member's name must be plain text")),
            };
            if name == "<<" {
                return Err(repeated(line));
            }
            check_characters(&name, line)?;
            if name.contains('\n') {
                return Err(ComposeError::new("", line, "a member's name must be on one line"));
            }
            if !names.insert(name.clone()) {
                let message = format!("`{}` stands here twice: keep one", quoted(&name));
                return Err(ComposeError::new("", line, message));
            }
            let (event, line) = self.next()?;
            let node = self.node(event, line, depth + 1)?;
            members.push((name, node));
        }
    }
}

fn line_of(span: &Span) -> usize {
    span.start.line()
}

fn repeated(line: usize) -> ComposeError {
    ComposeError::new(
        "",
        line,
        "anchors, aliases and merge keys (`&`, `*`, `<<`) are not taken: write the values out",
    )
}

/// Escapes in quoted text make characters that do not stand in the file.
fn check_characters(text: &str, line: usize) -> Result<(), ComposeError> {
    match text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || is_deceptive(*c)) {
        None => Ok(()),
        Some(found) => {
            let message =
                format!("the character U+{:04X} does not belong into a compose file", u32::from(found));
            Err(ComposeError::new("", line, message))
        }
    }
}
