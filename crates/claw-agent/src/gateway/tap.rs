//! Reads an answer of the API as it passes: how much it used, and when it is over. Changes nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::{sse::EventSplitter, usage::Usage};

/// Largest answer in one piece that is read. The longest ones that models write stay far below.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of text that count as one token where the API did not say how many there were. Less than most text has, so that the
/// estimate is rather too high.
const BYTES_PER_TOKEN: u64 = 3;

/// What an answer told so far.
#[derive(Debug, Default)]
pub(super) struct Tap {
    form: Form,
    model: Option<String>,
    usage: Option<Usage>,
    /// What the usage was told with, to add what is told only at the end.
    output_told: bool,
    written_bytes: u64,
    over: bool,
}

#[derive(Debug, Default)]
enum Form {
    /// Nothing but space has come.
    #[default]
    Unknown,
    Events(EventSplitter),
    Document(Vec<u8>),
    /// A document too large to be read.
    Overlong,
}

/// What an answer used, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The model that answered.
    pub(super) model: Option<String>,
    /// `None` if the answer said nothing about it.
    pub(super) usage: Option<Usage>,
}

impl Tap {
    /// Reads the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if matches!(self.form, Form::Unknown) {
            // Space before everything means nothing in either form.
            bytes = bytes.trim_ascii_start();
            match bytes.first() {
                None => return,
                Some(b'{') => self.form = Form::Document(Vec::new()),
                Some(_) => self.form = Form::Events(EventSplitter::default()),
            }
        }
        let mut form = std::mem::take(&mut self.form);
        match &mut form {
            Form::Events(events) => events.push(bytes, |data| self.event(data)),
            Form::Document(document) if document.len() + bytes.len() <= MAX_DOCUMENT_BYTES => {
                document.extend_from_slice(bytes);
            }
            Form::Document(document) => {
                self.written_bytes += (document.len() + bytes.len()) as u64;
                form = Form::Overlong;
            }
            Form::Overlong => self.written_bytes += bytes.len() as u64,
            Form::Unknown => {}
        }
        self.form = form;
    }

    /// Tells whether the answer said that it is over. What follows is at most the end of the bytes.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Tells whether the answer comes in one piece, which nobody can use before its end.
    pub(super) fn is_document(&self) -> bool {
        matches!(self.form, Form::Document(_) | Form::Overlong)
    }

    /// Returns what the answer told when it began, if it has.
    pub(super) fn beginning(&self) -> Option<Reading> {
        let usage = self.usage?;
        Some(Reading { model: self.model.clone(), usage: Some(usage.input_side()) })
    }

    /// Returns what the answer used, after all that will come of it has come. Where it broke off before it told how much was
    /// written, that is estimated from what came.
    pub(super) fn end(mut self) -> Reading {
        if let Form::Document(document) = std::mem::take(&mut self.form) {
            self.document(&document);
        }
        let estimate = self.written_bytes.div_ceil(BYTES_PER_TOKEN);
        if !self.output_told
            && let Some(usage) = &mut self.usage
        {
            usage.tokens.output = usage.tokens.output.max(estimate);
        }
        if self.usage.is_none() && estimate > 0 {
            let mut usage = Usage::default();
            usage.tokens.output = estimate;
            self.usage = Some(usage);
        }
        Reading { model: self.model, usage: self.usage }
    }

    fn event(&mut self, data: &[u8]) {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let Ok(Kind { kind }) = serde_json::from_slice(data) else {
            // Whatever it is, the API may have had it written.
            self.written_bytes += data.len() as u64;
            return;
        };
        match kind.as_ref() {
            "content_block_delta" => self.written_bytes += delta_bytes(data),
            "message_start" if self.usage.is_none() => {
                let event: Value = serde_json::from_slice(data).unwrap_or_default();
                self.message(event.get("message").unwrap_or(&Value::Null));
                // What is told of the output at the beginning is that it began.
                self.output_told = false;
            }
            "message_delta" => {
                let event: Value = serde_json::from_slice(data).unwrap_or_default();
                if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
                    self.told(usage);
                }
            }
            "message_stop" => self.over = true,
            _ => {}
        }
    }

    fn document(&mut self, document: &[u8]) {
        match serde_json::from_slice::<Value>(document) {
            Ok(message) if message.get("type").and_then(Value::as_str) == Some("message") => {
                self.message(&message)
            }
            Ok(_) => {}
            // It broke off.
            Err(_) => self.written_bytes += document.len() as u64,
        }
    }

    fn message(&mut self, message: &Value) {
        self.model =
            message.get("model").and_then(Value::as_str).map(|model| crate::text::cut(model, 256).to_owned());
        self.usage = Some(Usage::default());
        match message.get("usage").filter(|usage| usage.is_object()) {
            Some(usage) => self.told(usage),
            None => {
                self.written_bytes +=
                    message.get("content").map_or(0, |content| content.to_string().len() as u64)
            }
        }
    }

    fn told(&mut self, usage: &Value) {
        self.usage = Some(self.usage.unwrap_or_default().updated(usage).with_other_rounds(usage));
        self.output_told |= usage.get("output_tokens").is_some_and(Value::is_u64);
    }
}

/// Returns how much text a piece of the answer carries, without what stands around it.
fn delta_bytes(data: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Event {
        delta: Value,
    }
    let Ok(Event { delta: Value::Object(delta) }) = serde_json::from_slice(data) else {
        return data.len() as u64;
    };
    let texts = delta.iter().filter(|(name, _)| *name != "type").filter_map(|(_, value)| value.as_str());
    texts.map(|text| text.len() as u64).sum()
}

#[cfg(test)]
mod tests;
