//! Names that go into the path of a request.

use crate::DockerError;

/// Longest name that is passed on, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Checks the name or id of a container or volume. The path of a request is built from it, so a `/`, a `?` or a dot
/// segment would address something else.
pub(crate) fn check_name<'a>(kind: &'static str, name: &'a str) -> Result<&'a str, DockerError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
    {
        return Ok(name);
    }
    Err(bad(kind, name))
}

/// Checks an image reference: `repository[:tag][@digest]`, or an image id.
pub(crate) fn check_image(reference: &str) -> Result<&str, DockerError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@');
    if reference.len() <= MAX_NAME_BYTES
        && reference.starts_with(|c: char| c.is_ascii_alphanumeric())
        && reference.chars().all(plain)
        && reference.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
    {
        return Ok(reference);
    }
    Err(bad("image", reference))
}

/// Splits a reference into what is pulled and its tag or digest. Without either it is `latest`: the Engine would pull
/// every tag there is.
pub(crate) fn split_image(reference: &str) -> (&str, &str) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (repository, digest);
    }
    // A colon before the last slash is that of a registry's port.
    let name_at = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[name_at..].find(':') {
        Some(colon) => (&reference[..name_at + colon], &reference[name_at + colon + 1..]),
        None => (reference, "latest"),
    }
}

fn bad(kind: &'static str, name: &str) -> DockerError {
    let name = name.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect();
    DockerError::BadName { kind, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_address_something_else_are_refused() {
        for name in
            ["", "a/b", "../images", "a?force=1", "a#b", "a%2e", "a b", ".a", "-a", "ä", &"a".repeat(300)]
        {
            assert!(check_name("container", name).is_err(), "{name}");
        }
        for name in ["a/../../containers/json", "../x", "a//b", "a?b", "/a", "a b"] {
            assert!(check_image(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reference_without_a_tag_is_its_latest() {
        for (reference, repository, tag) in [
            ("alpine", "alpine", "latest"),
            ("alpine:3", "alpine", "3"),
            ("registry.example:5000/team/image", "registry.example:5000/team/image", "latest"),
            ("registry.example:5000/team/image:1.2", "registry.example:5000/team/image", "1.2"),
            ("registry.example:5000/image@sha256:00ff", "registry.example:5000/image", "sha256:00ff"),
            ("image:1@sha256:00ff", "image:1", "sha256:00ff"),
        ] {
            assert_eq!(split_image(reference), (repository, tag), "{reference}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in ["claw-job-1", "0123abc", "a_b.c"] {
            assert!(check_name("container", name).is_ok(), "{name}");
        }
        for name in ["claw-sandbox:latest", "registry.example:5000/team/image@sha256:00ff", "sha256:00ff"] {
            assert!(check_image(name).is_ok(), "{name}");
        }
    }
}
