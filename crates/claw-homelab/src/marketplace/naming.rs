//! Names that callers choose: apps, installs, containers.

use claw_core::ErrorCode;

use super::MarketplaceError;

/// Longest id of an app or install.
const MAX_SLUG: usize = 63;

/// Checks the id of an app: `[a-z0-9][a-z0-9-]{0,62}`.
pub(crate) fn app_id(text: &str) -> Result<&str, MarketplaceError> {
    if text.is_empty() {
        return Err(MarketplaceError::invalid(ErrorCode::AppIdRequired, "name the app in `app_id`"));
    }
    if is_slug(text) {
        return Ok(text);
    }
    let message = "an app's id has lower-case letters, digits and dashes, begins with a letter or digit, and has at \
                   most 63 characters";
    Err(MarketplaceError::invalid(ErrorCode::InvalidAppId, message))
}

/// Makes the id of an install of the name that somebody gave: lower case, dashes for blanks and underscores.
pub(crate) fn install_id(text: &str) -> Result<String, MarketplaceError> {
    let slug: String = text
        .trim()
        .chars()
        .map(|c| if matches!(c, ' ' | '_') { '-' } else { c.to_ascii_lowercase() })
        .collect();
    if is_slug(&slug) {
        return Ok(slug);
    }
    let message = "`custom_name` may have letters, digits, blanks and dashes, begins with a letter or digit, and has \
                   at most 63 characters";
    Err(MarketplaceError::invalid(ErrorCode::InvalidCustomName, message))
}

/// Checks the name of a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}`.
pub(crate) fn container_name(text: &str) -> Result<&str, MarketplaceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.len() <= MAX_SLUG
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
    {
        return Ok(text);
    }
    let message = "`container_name` has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at \
                   most 63 characters";
    Err(MarketplaceError::invalid(ErrorCode::InvalidContainerName, message))
}

fn is_slug(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= MAX_SLUG && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_options_are_refused() {
        for text in ["..", ".", "a/b", "-a", "a b\n", "ä", "a\0", "", &"a".repeat(64), "--help", "a%2f"] {
            assert!(app_id(text).is_err(), "{text:?}");
            assert!(container_name(text).is_err(), "{text:?}");
            assert!(text == "a b\n" || install_id(text).is_err(), "{text:?}");
        }
        assert!(app_id("Jellyfin").is_err());
    }

    #[test]
    fn b9_names_are_made_as_the_original_made_them() {
        assert_eq!(install_id("  My Jelly_fin ").expect("a name"), "my-jelly-fin");
        assert_eq!(container_name("my_jelly.fin-2").expect("a name"), "my_jelly.fin-2");
    }
}
