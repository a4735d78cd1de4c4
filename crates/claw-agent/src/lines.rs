//! Output cut into lines of bounded length.

/// Cuts a stream of bytes into lines. Holds at most one line of the given length.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    max_bytes: usize,
    line: Vec<u8>,
    truncated: bool,
}

/// One line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line's bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether the rest of an overlong line was dropped.
    pub(crate) truncated: bool,
}

impl LineSplitter {
    /// Returns a splitter that drops what exceeds `max_bytes` in one line.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, line: Vec::new(), truncated: false }
    }

    /// Takes the next bytes and returns the lines that they completed.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
        lines
    }

    /// Returns the last line, if the output did not end with a line end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.max_bytes - self.line.len();
        self.truncated |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> Line {
        let mut bytes = std::mem::take(&mut self.line);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Line { bytes, truncated: std::mem::take(&mut self.truncated) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(max_bytes: usize, chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut splitter = LineSplitter::new(max_bytes);
        let mut lines: Vec<Line> = chunks.iter().flat_map(|chunk| splitter.push(chunk)).collect();
        lines.extend(splitter.finish());
        lines
            .into_iter()
            .map(|line| (String::from_utf8_lossy(&line.bytes).into_owned(), line.truncated))
            .collect()
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let plain = |text: &str| (text.to_owned(), false);
        assert_eq!(lines(100, &[b"a", b"b\r\n\nc\nd"]), [plain("ab"), plain(""), plain("c"), plain("d")]);
    }

    #[test]
    fn an_overlong_line_is_cut_and_marked_and_the_next_is_not() {
        assert_eq!(lines(3, &[b"ab", b"cdef\nxyz\n"]), [("abc".to_owned(), true), ("xyz".to_owned(), false)]);
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        #[test]
        fn nothing_is_lost_below_the_limit(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10)) {
            let mut splitter = LineSplitter::new(1000);
            let mut count = 0;
            for chunk in &chunks {
                count += splitter.push(chunk).len();
            }
            let ends = chunks.iter().flatten().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(count, ends);
        }

        #[test]
        fn fuzz_lines_are_the_same_however_the_bytes_are_cut_and_never_too_long(
            bytes in prop::collection::vec(prop::sample::select(b"ab\r\n\xff".to_vec()), 0..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let whole = lines(5, &[&bytes]);
            prop_assert_eq!(&whole, &lines(5, &[first, second]));
            prop_assert!(whole.iter().all(|(line, _)| line.chars().count() <= 5));
        }
    }
}
