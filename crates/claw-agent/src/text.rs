//! Text that came from outside, made fit to be shown.

/// Returns the longest beginning of `text` that has at most `max_bytes` bytes and does not split a character.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Returns `text` on one line, without terminal sequences, control characters and marks that reorder text, cut to
/// `max_bytes`.
pub(crate) fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max_bytes));
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            skip_sequence(&mut characters);
        } else if character.is_control() || character.is_whitespace() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !reorders(character) {
            line.push(character);
        }
        if line.len() > max_bytes {
            break;
        }
    }
    let line = line.trim_end();
    if line.len() > max_bytes { format!("{}…", cut(line, max_bytes).trim_end()) } else { line.to_owned() }
}

/// Skips a control sequence (`ESC [ … letter`); of other escapes only the ESC itself is dropped.
fn skip_sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if characters.next_if_eq(&'[').is_some() {
        while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
        characters.next_if(|c| matches!(c, '@'..='~'));
    }
}

fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_sequences_and_line_ends_disappear() {
        assert_eq!(one_line("\u{1b}[31mred\u{1b}[0m\r\n\tnext\u{202e}\u{7}!", 100), "red next !");
    }

    #[test]
    fn r11_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(one_line("ääää", 5), "ää…");
        assert_eq!(one_line("ääää", 8), "ääää");
    }

    proptest! {
        #[test]
        fn cuts_keep_whole_characters(text in "\\PC{0,60}", max in 0usize..80) {
            let part = cut(&text, max);
            prop_assert!(part.len() <= max && text.starts_with(part));
        }

        #[test]
        fn one_line_is_bounded_and_printable(text in any::<String>(), max in 0usize..80) {
            let line = one_line(&text, max);
            prop_assert!(line.len() <= max + '…'.len_utf8());
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
