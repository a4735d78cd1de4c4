//! A part of a file, found while its bytes arrive.

/// The lines after the first so many, up to so many bytes.
#[derive(Debug)]
pub(super) struct Part {
    lines_to_pass: u64,
    most: usize,
    bytes: Vec<u8>,
}

impl Part {
    pub(super) fn new(lines_to_pass: u64, most: u64) -> Self {
        Self { lines_to_pass, most: usize::try_from(most).unwrap_or(usize::MAX), bytes: Vec::new() }
    }

    /// Takes the next bytes of the file.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while self.lines_to_pass > 0 {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
            bytes = &bytes[end + 1..];
            self.lines_to_pass -= 1;
        }
        // One more than may be shown, which says that there is more.
        let room = self.most + 1 - self.bytes.len().min(self.most + 1);
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Tells whether no more is needed, because the file is longer than what may be shown.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > self.most
    }

    /// Returns the part as text; `None` if it is none.
    pub(super) fn text(self) -> Option<String> {
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            // A character that was cut in two at the end.
            Err(error) if error.error_len().is_none() && self.is_full() => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).ok()?
            }
            Err(_) => return None,
        };
        (!text.contains('\0')).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]], offset: u64, most: u64) -> (Option<String>, bool) {
        let mut part = Part::new(offset, most);
        for chunk in chunks {
            if !part.is_full() {
                part.push(chunk);
            }
        }
        let full = part.is_full();
        (part.text(), full)
    }

    #[test]
    fn lines_are_passed_over_wherever_the_chunks_end() {
        for chunks in [&[b"one\ntwo\nthree".as_slice()][..], &[b"on", b"e\n", b"two", b"\nthr", b"ee"]] {
            assert_eq!(read(chunks, 0, 100), (Some("one\ntwo\nthree".into()), false));
            assert_eq!(read(chunks, 1, 100), (Some("two\nthree".into()), false));
            assert_eq!(read(chunks, 2, 5), (Some("three".into()), false));
            assert_eq!(read(chunks, 2, 4), (Some("three".into()), true));
            assert_eq!(read(chunks, 9, 4), (Some(String::new()), false));
        }
    }

    #[test]
    fn what_is_no_text_is_not_shown_as_if_it_were() {
        assert_eq!(read(&[b"a\0b"], 0, 100).0, None);
        assert_eq!(read(&[b"a\xff"], 0, 100).0, None);
        assert_eq!(read(&["ä".as_bytes(), &"ö".as_bytes()[..1]], 0, 100).0, None);
        assert_eq!(read(&["äö".as_bytes()], 0, 2).0, Some("ä".into()));
    }
}
