//! What belongs to ClawMachine itself.

use std::collections::BTreeSet;

/// What is ours on this host: nobody creates over it, mounts it, joins it or passes for it.
///
/// Names are compared without regard to letter case, and one that ends (begins) with `*` stands for all that
/// begin (end) so; `{uuid}` at the end stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Names of containers.
    pub names: Vec<String>,
    /// Full id of the container this program runs in, if it runs in one.
    pub container_id: Option<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Keys of the labels that our volumes carry.
    pub volume_labels: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Folders of the Engine's host that hold our data. The folder of the installed apps may lie inside.
    pub folders: Vec<String>,
    /// Where the installed apps are, on the Engine's host: what lies below may be mounted.
    pub apps_folder: Option<String>,
    /// Where this program sees that folder, if elsewhere (it may run in a container of its own).
    pub apps_folder_seen_at: Option<String>,
    /// Ports of the host that we listen on.
    pub ports: BTreeSet<u16>,
    /// How the keys of our labels begin.
    pub label_prefixes: Vec<String>,
}

impl Default for Own {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self {
            names: texts(&[
                "claw",
                "claw-*",
                "claw_*",
                "clawmachine*",
                "openclaw-mcp",
                "wagmios-backend",
                "wagmios-frontend",
            ]),
            container_id: None,
            volumes: texts(&[
                "claw-home-{uuid}",
                "claw-data",
                "claw_data",
                "*_claw-data",
                "clawmachine*",
                "*_clawmachine*",
                "wagmios_data",
                "*_wagmios_data",
            ]),
            volume_labels: texts(&["claw.home", "claw.instance", "claw.job", "claw.warm", "claw.workspace"]),
            networks: texts(&["clawmachine*"]),
            folders: Vec::new(),
            apps_folder: None,
            apps_folder_seen_at: None,
            ports: BTreeSet::from([5179]),
            label_prefixes: texts(&["claw", "wagmios", "io.clawmachine"]),
        }
    }
}
