//! An app's compose file, made into that of one install: named containers, free ports, and variables by reference.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{MarketplaceError, remote::hex};
use crate::compose::{self, ComposeError, Labels, Project, Reader};

/// What an install changes about the catalog's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Edits {
    /// Container names by service.
    pub(crate) names: BTreeMap<String, String>,
    /// Ports of the host by service and index in the file.
    pub(crate) ports: BTreeMap<(String, usize), u16>,
    /// The service that gets the variables of `extra`.
    pub(crate) main: String,
    /// Names of variables that the app does not know.
    pub(crate) extra: Vec<String>,
}

/// Reads the file with everything put in and changed.
pub(crate) fn project(
    text: &str,
    values: &BTreeMap<String, String>,
    edits: &Edits,
) -> Result<Project, ComposeError> {
    let mut project = compose::parse(text, values)?;
    for (name, service) in &mut project.services {
        if let Some(container) = edits.names.get(name) {
            service.wish.name = Some(container.clone());
        }
        for (index, port) in service.wish.ports.iter_mut().enumerate() {
            if let Some(host) = edits.ports.get(&(name.clone(), index)) {
                port.host = Some(*host);
            }
        }
        if *name == edits.main {
            for extra in &edits.extra {
                service.wish.environment.retain(|(known, _)| known != extra);
                let value = values.get(extra).cloned().unwrap_or_default();
                service.wish.environment.push((extra.clone(), value));
            }
        }
    }
    Ok(project)
}

/// Writes the file of an install, in which variables are named and not put in, so that secrets stay in a file of their
/// own and people change values in one place.
///
/// Where a variable stands for more than text (a number, a path), it is put in, unless it is one of `secrets`.
pub(crate) fn text(
    file: &str,
    values: &BTreeMap<String, String>,
    secrets: &[String],
    edits: &Edits,
) -> Result<String, MarketplaceError> {
    let meant = project(file, values, edits)?;
    let all: Vec<String> = values.keys().cloned().collect();
    for referred in [&all[..], secrets] {
        let marks: BTreeMap<String, String> = referred
            .iter()
            .enumerate()
            // Begins with a digit, so that it cannot be part of a name around it, and is nothing that a file says.
            .map(|(index, name)| (name.clone(), format!("0clawvalue{index:04}0")))
            .collect();
        let mut marked = values.clone();
        marked.extend(marks.clone());
        let Ok(written) = project(file, &marked, edits) else { continue };
        let mut text = compose::render(&written, &Labels::new(), Reader::Plugin);
        for (name, mark) in &marks {
            text = text.replace(mark, &format!("${{{name}}}"));
        }
        if compose::parse(&text, values).is_ok_and(|read| read == meant) {
            return Ok(text);
        }
    }
    let message = "a secret stands where the compose file needs a number, a path or a name";
    Err(ComposeError::new("", 0, message).into())
}

/// A short form of a text, to tell whether it is still the same.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The service that people mean by the app: the one with the app's port, or with its name, or with any port, or that no
/// other one waits for.
pub(crate) fn main_service(project: &Project, app: &str, port: u16) -> String {
    let services = &project.services;
    let with_port = |wanted: Option<u16>| {
        let has = |name: &&String| {
            let mut ports = services[*name].wish.ports.iter().filter_map(|port| port.host);
            ports.any(|host| wanted.is_none_or(|wanted| wanted == host))
        };
        services.keys().find(has)
    };
    let named = || services.keys().find(|name| *name == app);
    let found = with_port(Some(port)).or_else(named).or_else(|| with_port(None));
    // What others wait for serves them.
    let is_waited_for = |name: &&String| services.values().any(|other| other.depends_on.contains_key(*name));
    let leading = || services.keys().find(|name| !is_waited_for(name));
    found.or_else(leading).or_else(|| services.keys().next()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "services:\n  web:\n    image: web:1\n    ports: [\"8080:80\"]\n    mem_limit: ${MEMORY}\n    \
                        environment:\n      TZ: ${TZ:-Etc/UTC}\n      URL: \"postgres://app:${PASSWORD}@db/app\"\n      \
                        PRICE: 5$$\n";

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn t12_secrets_are_named_in_the_file_and_not_put_in() {
        let values = values(&[("MEMORY", "1g"), ("TZ", "Europe/Berlin"), ("PASSWORD", "p$\"\\{x}: 'y'")]);
        let edits = Edits {
            names: [("web".to_owned(), "page".to_owned())].into(),
            ports: [(("web".to_owned(), 0), 8081)].into(),
            main: "web".into(),
            extra: Vec::new(),
        };

        let text = text(FILE, &values, &["PASSWORD".to_owned()], &edits).expect("a file");

        assert!(text.contains("postgres://app:${PASSWORD}@db/app"), "{text}");
        assert!(!text.contains("p$"), "{text}");
        assert!(text.contains("8081:80/tcp") && text.contains("container_name: page"), "{text}");
        let read = compose::parse(&text, &values).expect("our own file");
        assert_eq!(read, project(FILE, &values, &edits).expect("the catalog's file"));
        assert_eq!(read.services["web"].wish.memory_bytes, Some(1 << 30));
    }

    #[test]
    fn values_are_named_where_they_are_text() {
        let file = FILE.replace("    mem_limit: ${MEMORY}\n", "");
        let values = values(&[("TZ", "Europe/Berlin"), ("PASSWORD", "x"), ("MY_KEY", "y")]);
        let edits = Edits { main: "web".into(), extra: vec!["MY_KEY".into()], ..Edits::default() };

        let text = text(&file, &values, &["PASSWORD".to_owned()], &edits).expect("a file");

        assert!(text.contains("\"TZ\": \"${TZ}\"") && text.contains("\"MY_KEY\": \"${MY_KEY}\""), "{text}");
    }

    #[test]
    fn a_secret_where_a_number_stands_is_refused() {
        let values = values(&[("MEMORY", "1g"), ("PASSWORD", "x")]);
        assert!(text(FILE, &values, &["MEMORY".to_owned()], &Edits::default()).is_err());
    }
}
