//! HTML from text, with every text escaped.

use std::fmt::{self, Display};

/// Shows text so that it can mean nothing in HTML, neither between tags nor in a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Shows text with `code` between backquotes as code, and empty lines as paragraphs.
pub(super) struct Prose<'a>(pub(super) &'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, paragraph) in self.0.split("\n\n").enumerate() {
            if number > 0 {
                f.write_str("<br><br>")?;
            }
            for (number, part) in paragraph.split('`').enumerate() {
                if number % 2 == 1 {
                    write!(f, "<code>{}</code>", Escaped(part))?;
                } else {
                    write!(f, "{}", Escaped(part))?;
                }
            }
        }
        Ok(())
    }
}

/// Puts a page's content between what all pages share.
pub(super) fn document(title: &str, current: &str, content: &str) -> String {
    let link = |path: &str, name: &str| {
        let mark = if path == current { " aria-current=\"page\"" } else { "" };
        format!("<a href=\"{path}\"{mark}>{name}</a>")
    };
    let links =
        [link("/", "State"), link("/docs", "API reference"), link("/api/openapi.json", "OpenAPI")].join("");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/assets/app.css\">\n</head>\n<body>\n\
         <header><a class=\"brand\" href=\"/\"><img src=\"/assets/icon.svg\" alt=\"\" width=\"28\" height=\"28\">ClawMachine</a>\
         <nav>{links}</nav></header>\n{content}\n</body>\n</html>\n",
        title = Escaped(title),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s43_no_text_can_leave_its_place() {
        assert_eq!(Escaped("<a b='c' d=\"e\">&").to_string(), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
        assert_eq!(Prose("a `<b>` c\n\nd").to_string(), "a <code>&lt;b&gt;</code> c<br><br>d");
    }
}
