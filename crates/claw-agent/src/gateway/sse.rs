//! Server-sent events out of bytes, however these are cut (HTML standard, section 9.2.6), as far as the meter needs them.

/// Most bytes of one event that are kept. The largest that matter hold counts of tokens; the largest of all, results of web
/// searches, stay below this.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// Cuts a stream into the data of its events. Holds at most one event.
#[derive(Debug, Default)]
pub(super) struct EventSplitter {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The event is larger than what is kept, so that nothing of it counts.
    overlong: bool,
    /// A line ended with CR: a LF that follows belongs to that end.
    after_return: bool,
    began: bool,
}

impl EventSplitter {
    /// Takes the next bytes and calls `event` with the data of each event that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) {
        let mut rest = bytes;
        if self.after_return && !rest.is_empty() {
            self.after_return = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&rest[..end]);
            self.end_line(&mut event);
            let is_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_return {
                self.after_return = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
        }
        self.extend(rest);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = MAX_EVENT_BYTES.saturating_sub(self.line.len() + self.data.len());
        self.overlong |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8])) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.began, true) && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        if line.is_empty() {
            if self.has_data && !self.overlong {
                event(&self.data);
            }
            self.data.clear();
            (self.has_data, self.overlong) = (false, false);
        } else if let Some(value) = line.strip_prefix(b"data") {
            let value = match value.strip_prefix(b":") {
                Some(value) => value.strip_prefix(b" ").unwrap_or(value),
                // A field without a value is one with an empty value; a longer name is another field.
                None if value.is_empty() => value,
                None => return self.reuse(line),
            };
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        self.reuse(line);
    }

    /// Keeps the memory of a line for the next one, unless it was an unusually large one.
    fn reuse(&mut self, mut line: Vec<u8>) {
        if line.capacity() <= 64 * 1024 {
            line.clear();
            self.line = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = EventSplitter::default();
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |data| events.push(String::from_utf8_lossy(data).into_owned()));
        }
        events
    }

    #[test]
    fn events_end_at_empty_lines_whatever_the_line_ends() {
        let text = "\u{feff}event: a\ndata: 1\n\ndata:2\r\ndata: 3\r\n\r\n: comment\rdata:  4\r\rdatax: 5\ndata\n\ndata: open\n";

        assert_eq!(events(&[text.as_bytes()]), ["1", "2\n3", " 4", ""]);
    }

    #[test]
    fn a_line_end_cut_in_two_is_one_line_end() {
        assert_eq!(events(&[b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"", b"\n"]), ["1\n2"]);
        assert_eq!(events(&[b"data: 1\r", b"\r"]), ["1"]);
    }

    #[test]
    fn an_overlong_event_is_dropped_and_the_next_is_not() {
        let long = vec![b'x'; MAX_EVENT_BYTES];

        assert_eq!(events(&[b"data: ", &long, &long, b"\n\ndata: 1\n\n"]), ["1"]);
    }
}
