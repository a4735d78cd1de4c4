//! The reviewed exceptions of a catalog app.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an app of the catalog may have beyond the policy, as its `[grants]` say: each entry widens exactly what it
/// names. Only reviewed entries that come with the program may be given to the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Capabilities it may add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Devices it may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Kernel parameters it may set, each to this value alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Whether it may use the network of the host.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
    /// Whether it may have the Engine's socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_socket: Option<SocketGrant>,
    /// Files and folders of the host that it may mount, reading only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_paths_read_only: Vec<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the Engine's socket may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketGrant {
    /// The mount itself is read-only. Whoever can open the socket still commands the Engine.
    ReadOnly,
}
