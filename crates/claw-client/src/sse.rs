//! Server-sent events, parsed as the HTML standard says
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).

use std::{mem, time::Duration};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its name; `message` when the server gave none.
    pub event: String,
    /// Its data; several `data` lines are joined by newlines.
    pub data: String,
    /// The last id seen up to and with this event.
    pub id: Option<String>,
}

/// A stream that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is larger than the parser was told to accept.
    #[error("an event of the stream is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The stream is not UTF-8.
    #[error("the event stream is not UTF-8 text")]
    NotText,
}

/// Turns the bytes of an event stream, however they are cut, into events.
#[derive(Debug)]
pub struct SseParser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    event: String,
    last_id: Option<String>,
    retry: Option<Duration>,
    after_carriage_return: bool,
    at_start: bool,
    limit: usize,
}

impl SseParser {
    /// Returns a parser that holds at most about `limit` bytes of one event.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: String::new(),
            has_data: false,
            event: String::new(),
            last_id: None,
            retry: None,
            after_carriage_return: false,
            at_start: true,
            limit,
        }
    }

    /// Returns the pause before a reconnect that the server asked for.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Starts with the id of the last event of an earlier connection: events without one of their own carry it on.
    pub(crate) fn resume_after(&mut self, id: Option<String>) {
        self.last_id = id;
    }

    /// Takes the next bytes and hands each event that they complete to `emit`.
    ///
    /// # Errors
    ///
    /// An event over the limit or bytes that are not UTF-8 end the stream: drop the parser after an error.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(SseEvent)) -> Result<(), SseError> {
        // The second half of a CR LF that was cut between two chunks.
        if mem::take(&mut self.after_carriage_return) && bytes.first() == Some(&b'\n') {
            bytes = &bytes[1..];
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend_line(&bytes[..end])?;
            let is_carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if is_carriage_return {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_carriage_return = true,
                }
            }
            if let Some(event) = self.end_line()? {
                emit(event);
            }
        }
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + self.data.len() + bytes.len() > self.limit {
            return Err(SseError::TooLarge { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<SseEvent>, SseError> {
        let line = mem::take(&mut self.line);
        let mut text = std::str::from_utf8(&line).map_err(|_| SseError::NotText)?;
        if mem::take(&mut self.at_start) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // Comments (an empty field name) and fields that do not exist yet.
            _ => {}
        }
        // Give the allocation back for the next line.
        self.line = line;
        self.line.clear();
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let event = mem::take(&mut self.event);
        let data = mem::take(&mut self.data);
        if !mem::take(&mut self.has_data) {
            return None;
        }
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(SseEvent { event, data, id: self.last_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> (Vec<SseEvent>, Option<Duration>) {
        let mut parser = SseParser::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk, |event| events.push(event)).expect("a well-formed stream");
        }
        (events, parser.retry())
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent { event: name.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn names_ids_several_data_lines_and_comments_are_understood() {
        let (events, retry) = parse(&[
            b"\xef\xbb\xbf: hello\nretry: 250\nevent: log\nid: 7\ndata: one\ndata:two\ndata\n\ndata: {\"a\":1}\n\nevent: lost\n\n",
        ]);

        assert_eq!(events, [event("log", "one\ntwo\n", Some("7")), event("message", "{\"a\":1}", Some("7"))]);
        assert_eq!(retry, Some(Duration::from_millis(250)));
    }

    #[test]
    fn every_way_to_cut_and_to_end_lines_gives_the_same_events() {
        let expected = [event("log", "é\nb", Some("1")), event("end", "x", Some("1"))];
        for ending in ["\n", "\r\n", "\r"] {
            let text = "id:1\nevent: log\ndata: é\ndata: b\n\nevent: end\ndata: x\n\n".replace('\n', ending);
            let bytes = text.as_bytes();
            for cut in 0..=bytes.len() {
                assert_eq!(parse(&[&bytes[..cut], &bytes[cut..]]).0, expected, "{ending:?} cut at {cut}");
            }
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(parse(&single).0, expected, "{ending:?} byte by byte");
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_not_delivered() {
        assert_eq!(parse(&[b"data: half"]).0, []);
        assert_eq!(parse(&[b"data: half\n"]).0, []);
    }

    #[test]
    fn an_event_over_the_limit_is_an_error_however_it_is_spread() {
        for chunk in ["data: 0123456789", "data: 01\n"] {
            let mut parser = SseParser::new(64);
            let outcome = (0..100).try_for_each(|_| parser.push(chunk.as_bytes(), |_| {}));
            assert_eq!(outcome, Err(SseError::TooLarge { limit: 64 }), "{chunk:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_an_error() {
        let mut parser = SseParser::new(64);

        assert_eq!(parser.push(b"data: \xff\n", |_| {}), Err(SseError::NotText));
    }
}
