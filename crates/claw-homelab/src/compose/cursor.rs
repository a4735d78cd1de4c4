//! Reading a tree of values with the path of each at hand.

use super::{
    error::{ComposeError, quoted},
    yaml::{Node, Value},
};

/// A value and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ComposeError {
        ComposeError::new(self.path.clone(), self.node.line, message)
    }

    pub(crate) fn value(&self) -> &'a Value {
        &self.node.value
    }

    pub(crate) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    fn member(&self, name: &str, node: &'a Node) -> Self {
        let name = quoted(name);
        let path = if self.path.is_empty() { name } else { format!("{}.{name}", self.path) };
        Self { node, path }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Result<&'a str, ComposeError> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text),
            Value::Null => Err(self.error("a value is missing")),
            Value::List(_) | Value::Map(_) => Err(self.error("expected a single value")),
        }
    }

    /// The text of a scalar that is no empty one.
    pub(crate) fn words(&self) -> Result<&'a str, ComposeError> {
        let text = self.text()?;
        if text.trim().is_empty() { Err(self.error("a value is missing")) } else { Ok(text) }
    }

    pub(crate) fn boolean(&self) -> Result<bool, ComposeError> {
        match self.text()? {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            other => Err(self.error(format!("`{}` is neither true nor false", quoted(other)))),
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(&self) -> Result<T, ComposeError> {
        let text = self.text()?;
        // Rust takes a leading plus, which YAML 1.1 and 1.2 read differently.
        let number = if text.starts_with('+') { None } else { text.parse().ok() };
        number.ok_or_else(|| self.error(format!("`{}` is not a number that can stand here", quoted(text))))
    }

    pub(crate) fn list(&self) -> Result<Vec<Cursor<'a>>, ComposeError> {
        match &self.node.value {
            Value::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, node)| Self { node, path: format!("{}[{index}]", self.path) })
                .collect()),
            Value::Null => Ok(Vec::new()),
            Value::Scalar(_) | Value::Map(_) => Err(self.error("expected a list")),
        }
    }

    /// The items of a list, or the one value that stands instead of it.
    pub(crate) fn one_or_list(&self) -> Result<Vec<Cursor<'a>>, ComposeError> {
        match &self.node.value {
            Value::Scalar(_) => Ok(vec![self.clone()]),
            _ => self.list(),
        }
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>, ComposeError> {
        self.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    pub(crate) fn one_or_texts(&self) -> Result<Vec<String>, ComposeError> {
        self.one_or_list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// The members of a mapping, by name.
    pub(crate) fn members(&self) -> Result<Vec<(&'a str, Cursor<'a>)>, ComposeError> {
        match &self.node.value {
            Value::Map(members) => {
                Ok(members.iter().map(|(name, node)| (name.as_str(), self.member(name, node))).collect())
            }
            Value::Null => Ok(Vec::new()),
            Value::Scalar(_) | Value::List(_) => Err(self.error("expected names with values")),
        }
    }

    /// The members of a mapping whose names are known.
    pub(crate) fn fields(&self) -> Result<Fields<'a>, ComposeError> {
        if self.is_null() {
            return Err(self.error("a value is missing"));
        }
        Ok(Fields { left: self.members()? })
    }

    /// Pairs, written as a mapping or as a list of `name=value`. `absent` says what a name without a value is.
    pub(crate) fn pairs(
        &self,
        absent: impl Fn(&Cursor<'a>, &str) -> Result<String, ComposeError>,
    ) -> Result<Vec<(String, String)>, ComposeError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut add = |at: &Cursor<'a>, name: &str, value: String| {
            if pairs.iter().any(|(known, _)| known == name) {
                return Err(at.error(format!("`{}` stands here twice: keep one", quoted(name))));
            }
            pairs.push((name.to_owned(), value));
            Ok(())
        };
        if let Value::List(_) = self.value() {
            for item in self.list()? {
                match item.text()?.split_once('=') {
                    Some((name, value)) => add(&item, name, value.to_owned())?,
                    None => add(&item, item.text()?, absent(&item, item.text()?)?)?,
                }
            }
        } else {
            for (name, value) in self.members()? {
                let text = if value.is_null() { absent(&value, name)? } else { value.text()?.to_owned() };
                add(&value, name, text)?;
            }
        }
        Ok(pairs)
    }
}

/// The members of a mapping, taken out one by one. What is left in the end is not known.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    left: Vec<(&'a str, Cursor<'a>)>,
}

impl<'a> Fields<'a> {
    /// Takes a member; `None` if it is not there or has no value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Cursor<'a>> {
        let index = self.left.iter().position(|(known, _)| *known == name)?;
        Some(self.left.swap_remove(index).1).filter(|cursor| !cursor.is_null())
    }

    /// Takes a member and reads it.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Cursor<'a>) -> Result<T, ComposeError>,
    ) -> Result<Option<T>, ComposeError> {
        self.take(name).map(|cursor| read(&cursor)).transpose()
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ComposeError> {
        self.read(name, |cursor| cursor.words().map(str::to_owned))
    }

    /// Takes a truth, false if it is not there.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<bool, ComposeError> {
        Ok(self.read(name, Cursor::boolean)?.unwrap_or(false))
    }

    /// Takes a list of texts, empty if it is not there.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, ComposeError> {
        Ok(self.read(name, Cursor::texts)?.unwrap_or_default())
    }

    /// Refuses what is left.
    pub(crate) fn finish(self, reason: impl Fn(&str) -> Option<&'static str>) -> Result<(), ComposeError> {
        let first = self.left.into_iter().min_by_key(|(_, cursor)| cursor.node.line);
        let Some((name, cursor)) = first else { return Ok(()) };
        let name = quoted(name);
        Err(cursor.error(match reason(&name) {
            Some(reason) => format!("`{name}` is not taken: {reason}"),
            None => format!("`{name}` is not known here: leave it out"),
        }))
    }
}
