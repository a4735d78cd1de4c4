//! Text that others wrote, made safe to show to people on a terminal and to language models.
//!
//! Log lines, file names, prompts and error messages can hold escape sequences that retitle the window, write to the
//! clipboard or hide what stands beside them, and characters that nobody sees but a model reads. Nothing of that kind
//! passes.

use std::borrow::Cow;

/// Returns `text` without control characters, escape sequences and invisible formatting. Line breaks and tabs stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) || is_joint(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if is_joint(c) => {
                if safe.chars().next_back().is_some_and(|before| joins(before, c)) {
                    safe.push(c);
                }
            }
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\u{2028}' | '\u{2029}' => safe.push('\n'),
            c if is_unsafe(c) => {}
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Returns `text` made safe and on one line, cut to `width` characters.
pub fn clean_line(text: &str, width: usize) -> String {
    let safe = clean(text);
    let mut line = String::new();
    let mut length = 0;
    for word in safe.split_whitespace() {
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word.chars().count();
        if length > width {
            let cut: String = line.chars().take(width.saturating_sub(1)).collect();
            return format!("{}…", cut.trim_end());
        }
    }
    line
}

/// Returns JSON text in which such characters are written as `\u` escapes: the same value, safe to show.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // In valid JSON they stand only inside strings, except for the line breaks between values.
    let is_unsafe = |c: char| is_unsafe(c) && !matches!(c, '\r');
    if !json.chars().any(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    let mut units = [0; 2];
    for c in json.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Tells whether a character says something only between others that can be seen: the joiners of scripts and emoji, and
/// the two selectors of a form. Rows of them, or among Latin letters, carry hidden text.
fn is_joint(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Tells whether a joiner or selector after this character is one of real text.
fn joins(before: char, joint: char) -> bool {
    let among_emoji = before == '\u{fe0f}' && joint == '\u{200d}';
    among_emoji || !before.is_ascii() && !is_joint(before)
}

fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        c if c.is_control() => true,
        // Direction marks, overrides and isolates, which show text in another order than it has.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Invisible characters that carry hidden text: spaces and hyphens without width, fillers, and what was deprecated.
        '\u{ad}'
        | '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}' => true,
        // Selectors of forms that no font has, annotations, and tags.
        '\u{fe00}'..='\u{fe0d}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        // Line breaks that only some programs take for such.
        '\u{2028}' | '\u{2029}' => true,
        _ => false,
    }
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an ESC (ECMA-48, section 5).
fn skip_escape(rest: &mut Rest<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_control_sequence(rest);
        }
        Some('P' | 'X' | ']' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        _ => {
            while rest.next_if(|c| (' '..='/').contains(c)).is_some() {}
            rest.next_if(|c| ('0'..='~').contains(c));
        }
    }
}

/// Skips parameters, intermediates and the final byte of a control sequence.
fn skip_control_sequence(rest: &mut Rest<'_>) {
    while rest.next_if(|c| (' '..='?').contains(c)).is_some() {}
    rest.next_if(|c| ('@'..='~').contains(c));
}

/// Skips a control string up to its end: BEL, ST, or, so that an open one does not swallow the log, a line break.
fn skip_string(rest: &mut Rest<'_>) {
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_and_the_text_around_them_stays() {
        for (text, expected) in [
            ("plain ü 漢 👩‍💻\n\ttext", "plain ü 漢 👩‍💻\n\ttext"),
            ("a\u{1b}[31;1mred\u{1b}[0mb", "aredb"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]52;c;ZXZpbA==\u{1b}\\b", "ab"),
            ("a\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
            ("a\u{9b}2Jb\u{9d}0;t\u{9c}c", "abc"),
            ("a\u{1b}(0b\u{1b}cd\u{1b}", "abd"),
            ("a\u{1b}]0;never ended\nb", "a\nb"),
            ("one\rtwo\u{8}\u{7f}", "onetwo"),
            ("file\u{202e}gpj.exe\u{200b}\u{e0041}", "filegpj.exe"),
            ("👩\u{200d}❤\u{fe0f}\u{200d}👨", "👩\u{200d}❤\u{fe0f}\u{200d}👨"),
            ("❤\u{fe0f} می\u{200c}خواهم", "❤\u{fe0f} می\u{200c}خواهم"),
            ("a\u{fe0f}b\u{200d}c漢\u{200d}\u{200c}\u{200d}字\u{fe01}\u{e0101}", "abc漢\u{200d}字"),
            ("\u{ad}\u{3164}\u{2063}x\u{180e}", "x"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_one_line_of_at_most_its_width() {
        assert_eq!(clean_line("a\n b\t\u{1b}[2Jc", 10), "a b c");
        assert_eq!(clean_line("0123456789abc", 10), "012345678…");
        assert_eq!(clean_line("ööööö ööööö ööööö", 8), "ööööö ö…");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!({"text": "a\u{9b}2J\u{202e}b\u{e0041}\u{7f} ü"});
        let json = value.to_string();

        let escaped = escape_json(&json);

        assert!(!escaped.chars().any(is_unsafe), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
    }
}
