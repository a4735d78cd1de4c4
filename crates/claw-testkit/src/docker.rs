//! Fixtures around a real Docker Engine.

use std::process::{Command, Output};

use uuid::Uuid;

/// The label that all fixtures of one test carry.
const LABEL: &str = "claw.test";

#[expect(
    clippy::disallowed_methods,
    reason = "fixtures drive the engine from outside, through its own client"
)]
fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run `docker`: {error}; install Docker, or run `scripts/test`, which does")
    })
}

/// Makes sure that a Docker Engine answers.
///
/// # Panics
///
/// Panics with the way out when it does not.
pub fn require_docker() {
    let output = docker(&["version", "--format", "{{.Server.Version}}"]);
    assert!(
        output.status.success(),
        "no Docker Engine answers: start dockerd, or run `scripts/test`, which does\n{}",
        String::from_utf8_lossy(&output.stderr).trim(),
    );
}

/// One test's own names in Docker. On drop everything with its label is removed: containers, volumes, networks.
///
/// What the code under test makes must carry [`DockerScope::label`], or be named to [`DockerScope::also_remove_label`].
#[derive(Debug)]
pub struct DockerScope {
    id: String,
    labels: Vec<String>,
}

impl DockerScope {
    /// Makes sure that Docker answers, and returns names that no other test uses.
    #[expect(clippy::new_without_default, reason = "a default value would hide that Docker is asked")]
    pub fn new() -> Self {
        require_docker();
        let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let labels = vec![format!("{LABEL}={id}")];
        Self { id, labels }
    }

    /// Returns the part of names that is this test's own: 12 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns a name for a container, volume or network.
    pub fn name(&self, what: &str) -> String {
        format!("claw-test-{}-{what}", self.id)
    }

    /// Returns the label `key=value` that all things of this test carry.
    pub fn label(&self) -> &str {
        &self.labels[0]
    }

    /// Returns the label as key and value.
    pub fn label_pair(&self) -> (String, String) {
        (LABEL.to_owned(), self.id.clone())
    }

    /// Removes what carries `label` (`key=value`) at the end too; the value must be this test's own.
    pub fn also_remove_label(&mut self, label: impl Into<String>) {
        self.labels.push(label.into());
    }

    /// Returns the ids of all containers, running or not, that carry a label of this test.
    pub fn containers(&self) -> Vec<String> {
        self.labelled(&["ps", "--all", "--quiet", "--no-trunc"])
    }

    /// Removes this test's containers, running or not, as a person with a terminal would.
    pub fn remove_containers(&self) {
        for container in self.containers() {
            docker(&["rm", "--force", &container]);
        }
    }

    fn labelled(&self, list: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for label in &self.labels {
            let filter = format!("label={label}");
            let output = docker(&[list, &["--filter", &filter]].concat());
            found.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        }
        found
    }
}

impl Drop for DockerScope {
    fn drop(&mut self) {
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
        ] {
            let found = self.labelled(list);
            if found.is_empty() {
                continue;
            }
            let names: Vec<&str> = found.iter().map(String::as_str).collect();
            let output = docker(&[remove, &names].concat());
            if !output.status.success() {
                // Not a panic: it would hide the test's own failure, and abort while another panic unwinds.
                eprintln!(
                    "left behind in Docker: {names:?}: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
    }
}
