//! The original's catalog format: a manifest in JSON, and a markdown file for each app.

use serde::Deserialize;

use super::{About, naming};
use crate::compose::{Node, Value, load_plain, quoted};

/// Most apps that a manifest may list.
const MAX_APPS: usize = 2_000;

/// Longest text about an app, in characters.
const MAX_TEXT: usize = 2_000;

#[derive(Deserialize)]
struct Manifest {
    apps: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestApp {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    logo: String,
    #[serde(default)]
    default_port: u16,
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    popularity: f64,
}

/// Reads a manifest. Entries that make no sense, and those whose id is none, are left out; a list of nothing else is no
/// manifest.
pub(crate) fn manifest(json: &[u8]) -> Result<Vec<About>, String> {
    let manifest: Manifest = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if manifest.apps.len() > MAX_APPS {
        return Err(format!("it lists more than {MAX_APPS} apps"));
    }
    let about = |app: ManifestApp| About {
        name: if app.name.is_empty() { app.id.clone() } else { text(&app.name) },
        id: app.id,
        description: text(&app.description),
        category: text(&app.category),
        // Shown to people and their browsers, so nothing but an address of the web.
        logo: Some(app.logo)
            .filter(|logo| logo.starts_with("https://"))
            .map(|logo| text(&logo))
            .unwrap_or_default(),
        port: app.default_port,
        verified: app.verified,
        popularity: if app.popularity.is_finite() { app.popularity } else { 0.0 },
        version: String::new(),
        website: String::new(),
        variables: Vec::new(),
        notes: Vec::new(),
        no_healthcheck: std::collections::BTreeMap::new(),
    };
    let is_empty = manifest.apps.is_empty();
    let read = manifest.apps.into_iter().filter_map(|app| serde_json::from_value(app).ok());
    let read: Vec<About> =
        read.filter(|app: &ManifestApp| naming::app_id(&app.id).is_ok()).map(about).collect();
    if read.is_empty() && !is_empty {
        return Err("none of its entries describes an app".to_owned());
    }
    Ok(read)
}

/// What a markdown file says.
#[derive(Debug, PartialEq)]
pub(crate) struct Markdown {
    pub(crate) variables: Vec<super::Variable>,
    pub(crate) compose: String,
}

/// Reads the front matter's variables and the compose block of a markdown file.
pub(crate) fn markdown(file: &str) -> Result<Markdown, String> {
    let file = file.replace("\r\n", "\n");
    let rest = file.trim_start_matches('\u{feff}').strip_prefix("---\n").ok_or("it has no front matter")?;
    let (front, body) = rest.split_once("\n---").ok_or("its front matter does not end")?;
    let front = load_plain(front).map_err(|error| format!("front matter: {error}"))?;
    let compose = block(body).ok_or("it has no compose block")?;
    Ok(Markdown { variables: variables(&front), compose })
}

/// The first fenced block of YAML.
fn block(body: &str) -> Option<String> {
    let mut lines = body.lines();
    lines.find(|line| matches!(line.trim(), "```yaml" | "```yml"))?;
    let mut block = String::new();
    for line in lines {
        if line.trim() == "```" {
            return Some(block);
        }
        block.push_str(line);
        block.push('\n');
    }
    None
}

fn variables(front: &Node) -> Vec<super::Variable> {
    let Some(Value::List(items)) = member(front, "environment").map(|node| &node.value) else {
        return Vec::new();
    };
    let scalar = |node: &Node, name: &str| match member(node, name).map(|node| &node.value) {
        Some(Value::Scalar(value)) => Some(value.clone()),
        _ => None,
    };
    let variable = |item: &Node| {
        let name = scalar(item, "name").filter(|name| crate::compose::is_variable_name(name))?;
        let secret = ["PASSWORD", "SECRET", "TOKEN", "PRIVATE_KEY", "API_KEY"];
        let upper = name.to_ascii_uppercase();
        Some(super::Variable {
            description: scalar(item, "description").as_deref().map(text).unwrap_or_default(),
            // An empty default says nothing.
            default: scalar(item, "default").filter(|value| !value.is_empty()),
            required: scalar(item, "required").as_deref() == Some("true"),
            generate: None,
            secret: secret.iter().any(|word| upper.contains(word)),
            name,
        })
    };
    items.iter().filter_map(variable).take(200).collect()
}

fn member<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(members) = &node.value else { return None };
    members.iter().find(|(known, _)| known == name).map(|(_, node)| node)
}

/// Other people's words: on one line, without control characters, not too long.
fn text(words: &str) -> String {
    let short: String = words.chars().take(MAX_TEXT).collect();
    if short.chars().count() <= 80 { quoted(&short) } else { short.chars().map(tame).collect() }
}

fn tame(c: char) -> char {
    if c.is_control() || crate::compose::is_deceptive(c) { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "---\nid: web-page\nname: Web Page\ncategory: utilities\ndescription: |\n  A page.\nimage: web\n\
        ports: [8080]\nenvironment:\n  - name: TZ\n    description: Time zone\n    required: false\n    default: UTC\n  \
        - name: JELLYFIN_PublishedServerUrl\n    required: true\n  - name: DB_PASSWORD\n    default: \"\"\n---\n\n# Web \
        Page\n\nText.\n\n```bash\ndocker run web\n```\n\n```yaml\nservices:\n  web:\n    image: web:1\n```\n\nMore.\n";

    #[test]
    fn a_file_of_the_originals_catalog_is_read() {
        let read = markdown(FILE).expect("a file");

        assert_eq!(read.compose, "services:\n  web:\n    image: web:1\n");
        let names: Vec<_> = read.variables.iter().map(|v| (v.name.as_str(), v.required, v.secret)).collect();
        let expected = [
            ("TZ", false, false),
            ("JELLYFIN_PublishedServerUrl", true, false),
            ("DB_PASSWORD", false, true),
        ];
        assert_eq!(names, expected);
        assert_eq!(read.variables[0].default.as_deref(), Some("UTC"));
        assert_eq!(read.variables[2].default, None);
    }

    #[test]
    fn b17_a_manifest_without_version_is_read_and_odd_entries_are_left_out() {
        let json = br#"{"apps":[{"id":"plex","name":"Plex\u001b[31m","description":"d","category":"c",
            "logo":"javascript:alert(1)","defaultPort":32400,"verified":true,"popularity":9},
            {"id":"../../etc","name":"x"},{"id":"-x"},{"id":"bare"}]}"#;

        let apps = manifest(json).expect("a manifest");

        assert_eq!(apps.iter().map(|app| app.id.as_str()).collect::<Vec<_>>(), ["plex", "bare"]);
        assert_eq!((apps[0].port, apps[0].verified, apps[0].logo.as_str()), (32400, true, ""));
        assert!(!apps[0].name.contains('\u{1b}'));
        assert_eq!(apps[1].name, "bare");
    }

    #[test]
    fn b2_a_broken_front_matter_is_an_error_of_that_app_alone() {
        for file in [
            "",
            "# no front matter",
            "---\nname: x\n",
            "---\nname: [x\n---\n```yaml\na: b\n```\n",
            "---\na: b\n---\nnothing\n",
        ] {
            assert!(markdown(file).is_err(), "{file}");
        }
    }
}
