//! What examples find on Docker: an image that runs, and nothing left in the end.

use std::process::{Command, Output, Stdio};

const BASE: &str = "debian:bookworm-slim";

/// A program that says something, waits, and ends when it is asked to.
const PROGRAM: &str = r#"CMD ["bash", "-c", "trap 'exit 0' TERM; echo ready; sleep 600 & wait"]"#;

/// Runs Docker's own command line: somebody who does not come through us.
pub(crate) fn docker(arguments: &[&str]) -> Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "fixtures drive the engine from outside, through its own client"
    )]
    let ran = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    ran.expect("these tests need Docker's command line")
}

/// A name that no other test uses. It does not begin like those of ClawMachine itself, which are protected.
pub(crate) fn unique(what: &str) -> String {
    format!("test-{}-{what}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

/// An image; removed in the end.
pub(crate) struct Image(pub(crate) String);

impl Image {
    /// Makes an image whose containers stay until they are asked to end.
    pub(crate) fn that_waits() -> Self {
        let (name, container) = (format!("{}:1", unique("image")), unique("base"));
        for step in [
            &["create", "--name", &container, BASE][..],
            &["commit", "--change", PROGRAM, &container, &name],
            &["rm", &container],
        ] {
            let ran = docker(step);
            assert!(ran.status.success(), "docker {step:?}: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(docker(&["rmi", "--force", &self.0]));
    }
}

/// A container and a volume of this name; removed in the end, if they are there.
pub(crate) struct Thing(pub(crate) String);

impl Drop for Thing {
    fn drop(&mut self) {
        drop(docker(&["rm", "--force", "--volumes", &self.0]));
        drop(docker(&["volume", "rm", "--force", &self.0]));
    }
}
