//! Comma-separated values (RFC 4180) that a spreadsheet reads as what they are.

/// Returns one line of a file, with its end.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (number, cell) in cells.into_iter().enumerate() {
        if number > 0 {
            line.push(',');
        }
        push(&mut line, cell);
    }
    line.push_str("\r\n");
    line
}

/// Adds a cell. Every one is quoted, and one that a spreadsheet would take for a formula gets an apostrophe in front,
/// which makes it a text there.
fn push(line: &mut String, cell: &str) {
    line.push('"');
    // Spreadsheets look past blanks, and some past characters that do not show.
    let first = cell.chars().find(|c| !c.is_whitespace() && !c.is_control() && !is_unseen(*c));
    let begins_oddly = cell.starts_with(|c: char| c.is_control());
    if begins_oddly || first.is_some_and(is_formula) {
        line.push('\'');
    }
    for c in cell.chars() {
        match c {
            '"' => line.push_str("\"\""),
            // A line end inside of a cell splits it for programs that read by lines.
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
    line.push('"');
}

/// Tells whether a cell that begins so is a formula. The wide forms are those of East Asian keyboards.
fn is_formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '|' | '%' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' | '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_lines_end_as_the_format_says() {
        assert_eq!(line(["a", "", "b,c", "d\"e"]), "\"a\",\"\",\"b,c\",\"d\"\"e\"\r\n");
    }

    #[test]
    fn t31_no_cell_is_a_formula_and_none_ends_its_line() {
        for hostile in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "=cmd|' /C calc'!A0",
            "  =1",
            "\t=1",
            "\r=1",
            "\u{feff}=1",
            "\u{200b}@x",
            "\"=1",
            "'=1",
            "\u{ff1d}1",
            "|calc",
            "%0A=1",
        ] {
            let line = line([hostile]);
            assert!(line.starts_with("\"'"), "{line:?}");
            assert_eq!(line.matches(['\r', '\n']).count(), 2, "{line:?}");
        }
        let split = line(["a\r\nforged\",\"b"]);
        assert_eq!(split, "\"a  forged\"\",\"\"b\"\r\n");
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        for plain in ["key:0199-a", "job.submit", "user@example.org", "2026-03-20T12:00:00Z", "größer", "a-b"]
        {
            assert_eq!(line([plain]), format!("\"{plain}\"\r\n"));
        }
    }
}
