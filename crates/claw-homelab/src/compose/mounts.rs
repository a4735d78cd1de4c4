//! Mounts, in the short and the long form, and file systems in memory.

use std::collections::BTreeMap;

use claw_docker::policy::{MountWish, MountWishSource};

use super::{
    cursor::Cursor,
    error::{ComposeError, quoted},
    values,
    yaml::Value,
};

/// Reads `volumes` of a service.
pub(crate) fn mounts(at: &Cursor<'_>) -> Result<Vec<MountWish>, ComposeError> {
    at.list()?
        .iter()
        .map(|item| match item.value() {
            Value::Map(_) => long(item),
            _ => short(item),
        })
        .collect()
}

/// Reads `tmpfs`: a path, or `path:size=64m`.
pub(crate) fn tmpfs(at: &Cursor<'_>) -> Result<Vec<MountWish>, ComposeError> {
    let mut mounts = Vec::new();
    for item in at.one_or_list()? {
        let (target, options) = item.words()?.split_once(':').unwrap_or((item.words()?, ""));
        let mut bytes = None;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", size)) => bytes = Some(size_of(&item, size)?),
                _ if option == "rw" => {}
                _ => {
                    let message = format!("`{}` is not taken: only `size=…` is", quoted(option));
                    return Err(item.error(message));
                }
            }
        }
        mounts.push(mount(&item, MountWishSource::Tmpfs { bytes }, target, false, None)?);
    }
    Ok(mounts)
}

fn size_of(at: &Cursor<'_>, text: &str) -> Result<u64, ComposeError> {
    let node = super::yaml::Node { line: 0, value: Value::Scalar(text.to_owned()) };
    values::bytes(&Cursor::root(&node)).map_err(|error| at.error(error.message))
}

/// `[source:]target[:options]`.
fn short(at: &Cursor<'_>) -> Result<MountWish, ComposeError> {
    let text = at.words()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => {
            let message = format!("`{}` is no mount such as \"./config:/config:ro\"", quoted(text));
            return Err(at.error(message));
        }
    };
    let (mut read_only, mut propagation) = (false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // These say what holds anyway.
            "rw" | "cached" | "delegated" | "consistent" => {}
            "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" => {
                propagation = Some(option.to_owned());
            }
            "z" | "Z" => return Err(at.error("`z` and `Z` change files of the host: leave them out")),
            _ => return Err(at.error(format!("the option `{}` is not taken", quoted(option)))),
        }
    }
    mount(at, source_of(at, source)?, target, read_only, propagation)
}

fn source_of(at: &Cursor<'_>, source: Option<&str>) -> Result<MountWishSource, ComposeError> {
    let Some(source) = source else { return Ok(MountWishSource::Anonymous) };
    if source.starts_with(['/', '.']) {
        return Ok(MountWishSource::Bind(source.to_owned()));
    }
    if source.starts_with('~') {
        return Err(at.error("`~` means nothing here: write a path below `./`"));
    }
    volume(at, source)
}

fn volume(at: &Cursor<'_>, name: &str) -> Result<MountWishSource, ComposeError> {
    if !is_name(name) {
        let message =
            format!("`{}` is neither a volume's name nor a path: paths begin with `./` or `/`", quoted(name));
        return Err(at.error(message));
    }
    Ok(MountWishSource::Volume { name: name.to_owned(), driver: None, options: BTreeMap::new() })
}

/// Tells whether a service, volume or network of the file can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn long(at: &Cursor<'_>) -> Result<MountWish, ComposeError> {
    let mut fields = at.fields()?;
    let kind = fields.text("type")?.ok_or_else(|| at.error("`type` is missing: bind, volume or tmpfs"))?;
    let source = fields.text("source")?;
    let target = fields.text("target")?.ok_or_else(|| at.error("`target` is missing"))?;
    let read_only = fields.boolean("read_only")?;
    let (mut propagation, mut bytes) = (None, None);
    fields.read("consistency", |at| at.words().map(drop))?;
    if kind == "bind"
        && let Some(bind) = fields.take("bind")
    {
        let mut bind = bind.fields()?;
        propagation = bind.text("propagation")?;
        // Folders below `./` are made by us, others are there or the mount fails.
        bind.boolean("create_host_path")?;
        bind.finish(|name| (name == "selinux").then_some("it changes files of the host"))?;
    }
    if kind == "volume"
        && let Some(volume) = fields.take("volume")
    {
        let mut volume = volume.fields()?;
        if volume.boolean("nocopy")? {
            return Err(at.error("`nocopy` is not taken: leave it out"));
        }
        volume.finish(|_| None)?;
    }
    if kind == "tmpfs"
        && let Some(tmpfs) = fields.take("tmpfs")
    {
        let mut tmpfs = tmpfs.fields()?;
        bytes = tmpfs.read("size", values::bytes)?;
        tmpfs.finish(|_| None)?;
    }
    fields.finish(|_| None)?;
    let source = match (kind.as_str(), source) {
        ("bind", Some(source)) if source.starts_with(['/', '.']) => MountWishSource::Bind(source),
        ("bind", _) => return Err(at.error("a bind has a `source` that begins with `./` or `/`")),
        ("volume", Some(source)) => volume(at, &source)?,
        ("volume", None) => MountWishSource::Anonymous,
        ("tmpfs", None) => MountWishSource::Tmpfs { bytes },
        ("tmpfs", Some(_)) => return Err(at.error("a tmpfs has no `source`")),
        _ => {
            let message = format!("the type `{}` is not taken: bind, volume or tmpfs", quoted(&kind));
            return Err(at.error(message));
        }
    };
    mount(at, source, &target, read_only, propagation)
}

fn mount(
    at: &Cursor<'_>,
    source: MountWishSource,
    target: &str,
    read_only: bool,
    propagation: Option<String>,
) -> Result<MountWish, ComposeError> {
    let plain = target.starts_with('/') && target.split('/').all(|part| part != ".." && part != ".");
    if !plain {
        let message = format!("`{}` is no absolute path without dots", quoted(target));
        return Err(at.error(message));
    }
    Ok(MountWish { source, target: target.to_owned(), read_only, propagation })
}
