//! Networks.

use std::collections::BTreeMap;

use crate::{Docker, DockerError, request::Ask, wire};

/// What is known about a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDetails {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// `bridge`, `host`, `null`, `overlay`, `macvlan`, …
    pub driver: String,
    /// `local`, `swarm` or `global`.
    pub scope: String,
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ranges of its addresses.
    pub subnets: Vec<String>,
}

impl Docker {
    /// Returns all networks, by name.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn networks(&self) -> Result<Vec<NetworkDetails>, DockerError> {
        let found: Vec<wire::Network> = self.ask(Ask::get("/networks")).await?;
        let mut networks: Vec<_> = found
            .into_iter()
            .map(|network| NetworkDetails {
                id: network.id,
                name: network.name,
                driver: network.driver,
                scope: network.scope,
                internal: network.internal,
                labels: network.labels,
                subnets: network.addresses.config.into_iter().map(|range| range.subnet).collect(),
            })
            .collect();
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(networks)
    }
}
