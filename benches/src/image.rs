//! The sandbox image with the agent of the benchmarks in place of the CLI.

use crate::{Outcome, process::tool};

/// The image that everything else uses.
pub(crate) const SANDBOX_IMAGE: &str = "claw-sandbox:latest";

/// An image that is removed when dropped.
#[derive(Debug)]
pub(crate) struct AgentImage {
    name: String,
}

impl AgentImage {
    /// Makes the image from the sandbox image and this very program.
    pub(crate) fn make() -> Outcome<Self> {
        let name = format!("claw-bench-agent:{}", std::process::id());
        let container = docker(&["create", "--network", "none", SANDBOX_IMAGE])?;
        let image = Self { name };
        let program = std::env::current_exe()?;
        let copied =
            docker(&["cp", &program.to_string_lossy(), &format!("{container}:/usr/local/bin/claude")]);
        let made = copied.and_then(|_| docker(&["commit", &container, &image.name]));
        docker(&["rm", "--force", &container])?;
        made?;
        Ok(image)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for AgentImage {
    fn drop(&mut self) {
        if let Err(error) = docker(&["rmi", "--force", &self.name]) {
            eprintln!("left behind in Docker: {}: {error}", self.name);
        }
    }
}

/// Runs Docker's own client and returns what it printed.
pub(crate) fn docker(arguments: &[&str]) -> Outcome<String> {
    let output = tool("docker").args(arguments).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("docker {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}

/// Removes what servers over `data_dir` left in Docker: containers and volumes with their label.
pub(crate) fn remove_leftovers(data_dir: &std::path::Path) {
    let Ok(instance) = std::fs::read_to_string(data_dir.join("instance")) else { return };
    let filter = format!("label=claw.instance={}", instance.trim());
    for (list, remove) in [
        (&["ps", "--all", "--quiet", "--filter", filter.as_str()][..], &["rm", "--force"][..]),
        (&["volume", "ls", "--quiet", "--filter", filter.as_str()][..], &["volume", "rm", "--force"][..]),
    ] {
        for name in docker(list).unwrap_or_default().lines() {
            if let Err(error) = docker(&[remove, &[name]].concat()) {
                eprintln!("left behind in Docker: {name}: {error}");
            }
        }
    }
}
