//! Media types of files by the ends of their names.

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Returns the type to save a file under.
pub(super) fn type_of(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "txt" | "yaml" | "yml" | "toml" | "rs" | "py" | "dart" | "sh" => PLAIN_TEXT,
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    }
}

/// Returns the type to show a file under: what a browser could run is plain text.
pub(super) fn inert_type_of(name: &str) -> &'static str {
    match type_of(name) {
        media_type if media_type.starts_with("image/svg") => PLAIN_TEXT,
        media_type if media_type.starts_with("image/") => media_type,
        "application/xml" => PLAIN_TEXT,
        media_type if media_type.starts_with("text/") => PLAIN_TEXT,
        media_type => media_type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s42_what_a_browser_could_run_is_shown_as_plain_text() {
        for name in ["a.html", "a.HTM", "x/a.svg", "a.xml", "a.js", "a.css", "a.md"] {
            assert_eq!(inert_type_of(name), PLAIN_TEXT, "{name}");
        }
        assert_eq!(inert_type_of("a.png"), "image/png");
        assert_eq!(inert_type_of("a.xhtml"), "application/octet-stream");
        assert_eq!(inert_type_of("html"), "application/octet-stream");
        assert_eq!(type_of("a.html"), "text/html; charset=utf-8");
    }
}
