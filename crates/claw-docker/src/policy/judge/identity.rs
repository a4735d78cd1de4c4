//! What a container is called, what it is made from, and what is written on it.

use super::{Case, is_named, is_plain_name, quoted, starts_with, toml_text};
use crate::policy::{ContainerWish, Own};

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest reference to an image, in bytes.
const MAX_IMAGE_BYTES: usize = 255;
/// Longest key of a label, in bytes.
const MAX_LABEL_KEY_BYTES: usize = 256;
/// A name made of that many hexadecimal digits could be meant as the beginning of an id.
const LIKE_AN_ID: usize = 8;
/// Where an image comes from when its reference does not say.
const DEFAULT_REGISTRY: &str = "docker.io";

/// How labels begin that other tools take orders from: compose, reverse proxies, updaters, and what lets somebody into
/// a container or runs commands in it. An administrator may open one by `labels.allowed`.
const OBEYED: &[&str] = &[
    "autokuma",
    "caddy",
    "cetusguard",
    "chadburn",
    "cloudflare",
    "com.centurylinklabs.watchtower",
    "com.github.",
    "deunhealth",
    "diun",
    "dockflare",
    "docker-socket-proxy",
    "docker-volume-backup",
    "io.portainer",
    "kuma.",
    "nginx-proxy",
    "ofelia",
    "ouroboros",
    "pangolin",
    "sablier",
    "swarm.",
    "traefik",
    "tsdproxy",
    "watchtower",
    "wud.",
];

/// How labels begin that Docker and compose write themselves. Nobody opens them.
const DOCKERS: &[&str] =
    &["com.docker.", "desktop.docker.", "io.docker.", "io.podman.", "org.dockerproject."];

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    if result.name.as_deref() == Some("") {
        result.name = None;
    }
    if let Some(name) = &result.name {
        judge_name(case, name);
    }
    judge_image(case, &result.image);
    if let Some(hostname) = &result.hostname
        && !is_hostname(hostname)
    {
        case.refuse("hostname.form", "hostname", format!("{} is no host name", quoted(hostname)));
    }
    for (key, value) in &result.labels {
        judge_label(case, key, value);
    }
}

fn judge_name(case: &mut Case<'_>, name: &str) {
    if name.len() < 2 || !is_plain_name(name, MAX_NAME_BYTES) {
        let message = format!(
            "{} is no name for a container: expected 2 to {MAX_NAME_BYTES} letters, digits, `_`, `.` and `-`",
            quoted(name)
        );
        case.refuse("name.form", "name", message);
        return;
    }
    let own = &case.facts.own;
    if is_named(name, &own.names)
        || case.facts.protected.iter().any(|protected| protected.eq_ignore_ascii_case(name))
    {
        case.refuse(
            "name.protected",
            "name",
            format!("the name {} belongs to ClawMachine itself", quoted(name)),
        );
    }
    let is_beginning_of_ours = own.container_id.as_ref().is_some_and(|id| starts_with(id, name));
    if name.bytes().all(|byte| byte.is_ascii_hexdigit()) && (name.len() >= LIKE_AN_ID || is_beginning_of_ours)
    {
        let message =
            format!("the name {} looks like the id of a container, and would be taken for one", quoted(name));
        case.refuse("name.like-id", "name", message);
    }
}

fn judge_image(case: &mut Case<'_>, image: &str) {
    if !is_image(image) {
        case.refuse("image.form", "image", format!("{} is no reference to an image", quoted(image)));
        return;
    }
    let allowed = &case.rules.images.registries;
    if allowed.is_empty() {
        return;
    }
    if could_be_an_id(image) {
        let message =
            format!("{} could be the id of an image from anywhere: name it with its registry", quoted(image));
        case.refuse("image.by-id", "image", message);
        return;
    }
    let full = full_repository(image);
    let is_allowed = allowed.iter().any(|start| {
        full.strip_prefix(start.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !is_allowed {
        let registry = full.split('/').next().unwrap_or(DEFAULT_REGISTRY);
        let mut lines = allowed.clone();
        lines.push(registry.to_owned());
        let lines: Vec<_> = lines.iter().map(|line| toml_text(line)).collect();
        let message = format!("images from {} are not permitted here", quoted(registry));
        case.refuse_unless(
            "image.registry",
            "image",
            message,
            format!("images.registries = [{}]", lines.join(", ")),
        );
    }
}

/// `[registry/]repository[:tag][@digest]` or an id.
fn is_image(image: &str) -> bool {
    image.len() <= MAX_IMAGE_BYTES
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
        && image.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && image.matches('@').count() <= 1
        && image.split_once('@').is_none_or(|(name, digest)| !name.is_empty() && is_digest(digest))
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The Engine takes `sha256:…`, and any beginning of an id when no image is named so.
fn could_be_an_id(image: &str) -> bool {
    image.strip_prefix("sha256:").unwrap_or(image).bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the repository with its registry, as the Engine would complete it.
fn full_repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    // A colon behind the last slash begins the tag; one before it, a port.
    let name = match name.rfind(':') {
        Some(colon) if !name[colon..].contains('/') => &name[..colon],
        _ => name,
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first.to_ascii_lowercase(), rest)
        }
        _ => (DEFAULT_REGISTRY.to_owned(), name),
    };
    let registry = match registry.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DEFAULT_REGISTRY,
        other => other,
    };
    if registry == DEFAULT_REGISTRY && !path.contains('/') {
        return format!("{registry}/library/{path}");
    }
    format!("{registry}/{path}")
}

fn is_hostname(name: &str) -> bool {
    name.len() <= 63
        && name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// Judges one label of a container or network.
pub(super) fn judge_label(case: &mut Case<'_>, key: &str, value: &str) {
    let field = || format!("labels[{}]", quoted(key));
    if key.is_empty()
        || key.len() > MAX_LABEL_KEY_BYTES
        || !key.bytes().all(|byte| byte.is_ascii_graphic())
        || value.contains('\0')
    {
        case.refuse(
            "labels.form",
            field(),
            format!("{} is no key of a label: expected plain text without spaces", quoted(key)),
        );
        return;
    }
    match kind_of(key, &case.facts.own, &case.rules.labels.allowed) {
        LabelKind::Plain => {}
        LabelKind::Ours | LabelKind::Dockers => case.refuse(
            "labels.reserved",
            field(),
            format!("the label {} is written by ClawMachine or Docker alone", quoted(key)),
        ),
        LabelKind::Obeyed(prefix) => {
            let message = format!("other tools take orders from the label {}", quoted(key));
            let permit = format!("labels.allowed = [{}]", toml_text(prefix));
            case.refuse_unless("labels.reserved", field(), message, permit);
        }
    }
}

/// Who believes a label.
pub(super) enum LabelKind {
    /// Nobody whom it concerns.
    Plain,
    /// We do.
    Ours,
    /// Docker and Compose do.
    Dockers,
    /// Some tool does that nobody permitted; how its labels begin.
    Obeyed(&'static str),
}

pub(super) fn kind_of(key: &str, own: &Own, allowed: &[String]) -> LabelKind {
    let begins = |with: &str| starts_with(key, with);
    if own.label_prefixes.iter().any(|prefix| begins(prefix)) {
        return LabelKind::Ours;
    }
    if DOCKERS.iter().any(|prefix| begins(prefix)) {
        return LabelKind::Dockers;
    }
    match OBEYED.iter().find(|prefix| begins(prefix)) {
        Some(prefix) if !allowed.iter().any(|allowed| !allowed.is_empty() && begins(allowed)) => {
            LabelKind::Obeyed(prefix)
        }
        _ => LabelKind::Plain,
    }
}
