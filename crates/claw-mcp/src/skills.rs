//! The agent skill, served as resources by the skills extension (SEP-2640) and to clients without it.

use std::sync::LazyLock;

use rmcp::model::{
    DIRECTORY_MIME_TYPE, JsonObject, Resource, ResourceContents, SKILL_MD, Skill, SkillFrontmatter,
    SkillResource, SkillResources,
};
use serde_json::Value;

/// The type of a skill's files.
const MARKDOWN: &str = "text/markdown";

/// How long clients may keep what they read of the skill: it changes with the program alone.
pub const SKILL_FRESH_MS: u64 = 3_600_000;

/// A folder of files with a `SKILL.md`, as resources.
#[derive(Debug)]
pub struct SkillFolder {
    root: String,
    frontmatter: SkillFrontmatter,
    files: &'static [(&'static str, &'static str)],
}

/// Returns the skill of this program.
pub fn clawmachine() -> &'static SkillFolder {
    static FOLDER: LazyLock<SkillFolder> =
        LazyLock::new(|| SkillFolder::new(include!(concat!(env!("OUT_DIR"), "/skill_files.rs"))));
    &FOLDER
}

impl SkillFolder {
    fn new(files: &'static [(&'static str, &'static str)]) -> Self {
        let main = files.iter().find(|(name, _)| *name == SKILL_MD).map_or("", |(_, text)| text);
        let mut fields = frontmatter(main);
        let mut take = |name: &str| match fields.shift_remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (name, description) = (take("name"), take("description"));
        let root = format!("skill://{name}");
        let mut frontmatter = SkillFrontmatter::new(name, description);
        frontmatter.extra = fields;
        Self { root, frontmatter, files }
    }

    fn uri(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// The path of a file or folder in this skill; empty for the skill itself.
    fn path<'a>(&self, uri: &'a str) -> Option<&'a str> {
        let rest = uri.strip_prefix(self.root.as_str())?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/').map(|path| path.trim_end_matches('/')) }
    }

    fn file(&self, path: &str) -> Resource {
        let text = self.files.iter().find(|(name, _)| *name == path).map_or("", |(_, text)| text);
        let resource = if path == SKILL_MD {
            Resource::new(self.uri(path), self.frontmatter.name.as_str())
                .with_description(self.frontmatter.description.as_str())
        } else {
            let heading = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(path);
            Resource::new(self.uri(path), path).with_description(heading)
        };
        resource.with_mime_type(MARKDOWN).with_size(text.len() as u64)
    }

    /// Returns all files, in the order of their names.
    pub fn resources(&self) -> Vec<Resource> {
        self.files.iter().map(|(path, _)| self.file(path)).collect()
    }

    /// Returns what the extension tells of the skill.
    pub fn skill(&self) -> Skill {
        let files = self
            .files
            .iter()
            .map(|(path, text)| SkillResource::from_bytes(self.uri(path), text.as_bytes()))
            .collect();
        Skill::new(self.uri(SKILL_MD), self.frontmatter.clone(), SkillResources::Files(files))
    }

    /// Returns a file's text, if there is such a file.
    pub fn read(&self, uri: &str) -> Option<ResourceContents> {
        let path = self.path(uri)?;
        let (_, text) = self.files.iter().find(|(name, _)| *name == path)?;
        Some(ResourceContents::text(*text, uri).with_mime_type(MARKDOWN))
    }

    /// Returns what is directly in a folder, if there is such a folder.
    pub fn directory(&self, uri: &str) -> Option<Vec<Resource>> {
        let folder = self.path(uri)?;
        let inside = self.files.iter().filter_map(|(name, _)| match folder {
            "" => Some(*name),
            folder => name.strip_prefix(folder)?.strip_prefix('/'),
        });
        let mut children: Vec<Resource> = Vec::new();
        for rest in inside {
            let whole = |child: &str| match folder {
                "" => child.to_owned(),
                folder => format!("{folder}/{child}"),
            };
            let child = match rest.split_once('/') {
                Some((folder, _)) => {
                    Resource::new(self.uri(&whole(folder)), folder).with_mime_type(DIRECTORY_MIME_TYPE)
                }
                None => self.file(&whole(rest)),
            };
            if children.last().is_none_or(|last| last.uri != child.uri) {
                children.push(child);
            }
        }
        (!children.is_empty()).then_some(children)
    }
}

/// Reads the head of a `SKILL.md`: lines `key: text`, and below a bare `key:` indented ones. A test holds our own skill
/// to this part of YAML.
fn frontmatter(text: &str) -> JsonObject {
    let mut fields = JsonObject::new();
    let Some(rest) = text.strip_prefix("---\n") else { return fields };
    let mut open: Option<String> = None;
    for line in rest.lines().take_while(|line| *line != "---") {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (is_inside, key, value) = (key.starts_with(' '), key.trim().to_owned(), value.trim());
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let text = Value::String(unquoted.unwrap_or(value).to_owned());
        match (is_inside, open.as_ref().and_then(|open| fields.get_mut(open))) {
            (true, Some(Value::Object(inside))) => {
                inside.insert(key, text);
            }
            _ if value.is_empty() => {
                fields.insert(key.clone(), Value::Object(JsonObject::new()));
                open = Some(key);
            }
            _ => {
                fields.insert(key, text);
                open = None;
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skill_is_what_the_extension_wants_it_to_be() {
        let folder = clawmachine();

        let skill = folder.skill();

        skill.validate().expect("a valid skill");
        assert_eq!(skill.uri, "skill://clawmachine/SKILL.md");
        assert_eq!(skill.name(), "clawmachine");
        for resource in folder.resources() {
            let Some(ResourceContents::TextResourceContents { text, .. }) = folder.read(&resource.uri) else {
                panic!("{} can be read", resource.uri)
            };
            assert_eq!(Some(text.len() as u64), resource.size);
        }
    }

    #[test]
    fn its_head_is_plain_enough_to_be_read_as_yaml_reads_it() {
        let (_, text) = clawmachine().files.iter().find(|(name, _)| *name == SKILL_MD).expect("a SKILL.md");
        let head = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("a head").0;

        for line in head.lines() {
            let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("no `key: value`: {line}"));
            let (key, value) = (key.trim(), value.trim());
            let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            assert!(!value.starts_with(['|', '>', '[', '{', '&', '*', '!', '%', '@', '`', '\'']), "{line}");
            assert!(is_quoted || !(value.contains(": ") || value.contains(" #")), "quote it: {line}");
            assert!(is_quoted || value.parse::<f64>().is_err(), "quote it: {line}");
            assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)), "{line}");
        }
    }

    #[test]
    fn folders_list_what_is_directly_in_them() {
        let folder = clawmachine();
        let names = |uri: &str| -> Option<Vec<String>> {
            Some(folder.directory(uri)?.into_iter().map(|child| child.uri).collect())
        };

        let root = names("skill://clawmachine").expect("a folder");
        assert!(root.contains(&"skill://clawmachine/SKILL.md".to_owned()));
        assert!(root.contains(&"skill://clawmachine/references".to_owned()));
        let references = names("skill://clawmachine/references/").expect("a folder");
        assert!(references.iter().all(|uri| uri.starts_with("skill://clawmachine/references/")));
        for no_folder in [
            "skill://clawmachine/SKILL.md",
            "skill://clawmachines",
            "skill://other",
            "",
            "skill://clawmachine/ref",
        ] {
            assert_eq!(names(no_folder), None, "{no_folder}");
        }
        assert!(folder.read("skill://clawmachine/../Cargo.toml").is_none());
    }
}
