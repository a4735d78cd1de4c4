//! How clients are told about `clawmachine`: the texts that `clawmachine config <client>` prints, which are those of
//! `docs/mcp.md`.

/// A client whose configuration is known: the name that people give, and the text.
type Entry = (&'static str, &'static str);

const CLIENTS: [Entry; 7] = [
    ("claude-code", include_str!("config_for/claude-code.md")),
    ("claude-desktop", include_str!("config_for/claude-desktop.md")),
    ("cursor", include_str!("config_for/cursor.md")),
    ("vscode", include_str!("config_for/vscode.md")),
    ("gemini", include_str!("config_for/gemini.md")),
    ("codex", include_str!("config_for/codex.md")),
    ("generic", include_str!("config_for/generic.md")),
];

/// Returns the configuration for a client, or `None` if there is none by that name.
pub(crate) fn config_for(client: &str) -> Option<&'static str> {
    let client = client.to_ascii_lowercase().replace(['_', ' '], "-");
    CLIENTS.iter().find(|(name, _)| *name == client).map(|(_, text)| *text)
}

/// Returns the names of the clients, in the order of the documentation.
pub(crate) fn clients() -> impl Iterator<Item = &'static str> {
    CLIENTS.iter().map(|(name, _)| *name)
}
