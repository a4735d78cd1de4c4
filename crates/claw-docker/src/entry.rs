//! What lists show of a container.

use std::collections::BTreeMap;

use claw_core::Timestamp;

use crate::wire;

/// Most bytes of labels that are kept for one container. Labels are written by whoever made it.
const MAX_LABEL_BYTES: usize = 64 << 10;

/// What lists show of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEntry {
    /// Full id.
    pub id: String,
    /// Name, without a leading slash.
    pub name: String,
    /// Image, as it was named when the container was made.
    pub image: String,
    /// The Engine's word: `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`; Podman has more.
    pub state: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// Exit code of its last end; `None` while it runs, and before it ever ran.
    pub exit_code: Option<i64>,
    /// `starting`, `healthy` or `unhealthy`, for containers with a health check.
    pub health: Option<String>,
    /// Ports that are open now, by private port.
    pub ports: Vec<PortEntry>,
    /// Labels. Of more than 64 KiB of them, the longest are left out.
    pub labels: BTreeMap<String, String>,
    /// Names of the networks it is in.
    pub networks: Vec<String>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortEntry {
    /// Port inside the container.
    pub private: u16,
    /// Port of the host, if it is published. In what was asked for, 0 is any free one.
    pub public: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Address of the host at which it is published.
    pub address: Option<String>,
}

impl ContainerEntry {
    /// Tells whether its program runs, be it paused.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused")
    }

    /// Returns the line for people that `docker ps` shows, such as `Up 2 hours (healthy)`.
    pub fn status_line(&self, now: Timestamp) -> String {
        let ago =
            |since: Option<Timestamp>| duration(since.map_or(0, |since| now.as_second() - since.as_second()));
        let code = self.exit_code.unwrap_or(0);
        match self.state.as_str() {
            "running" => {
                let up = ago(self.started_at);
                match self.health.as_deref() {
                    Some("starting") => format!("Up {up} (health: starting)"),
                    Some(health) => format!("Up {up} ({health})"),
                    None => format!("Up {up}"),
                }
            }
            "paused" => format!("Up {} (Paused)", ago(self.started_at)),
            "restarting" => format!("Restarting ({code}) {} ago", ago(self.finished_at)),
            "removing" => "Removal In Progress".to_owned(),
            "dead" => "Dead".to_owned(),
            "created" | "configured" | "initialized" => "Created".to_owned(),
            "exited" | "stopped" => format!("Exited ({code}) {} ago", ago(self.finished_at)),
            other => other.to_owned(),
        }
    }

    pub(crate) fn from_inspect(found: &mut wire::Inspect) -> Self {
        let state = std::mem::take(&mut found.state.status);
        let health = std::mem::take(&mut found.state.health.status);
        let started_at = wire::moment(&found.state.started_at);
        let finished_at = wire::moment(&found.state.finished_at);
        let ended = finished_at.is_some() && !matches!(state.as_str(), "running" | "paused");
        Self {
            id: std::mem::take(&mut found.id),
            name: std::mem::take(&mut found.name).trim_start_matches('/').to_owned(),
            image: std::mem::take(&mut found.config.image),
            state,
            created: wire::moment(&found.created).unwrap_or(Timestamp::UNIX_EPOCH),
            started_at,
            finished_at,
            exit_code: ended.then_some(found.state.exit_code),
            health: (!health.is_empty() && health != "none").then_some(health),
            ports: ports_of(&found.network_settings.ports),
            labels: kept(std::mem::take(&mut found.config.labels)),
            networks: found.network_settings.networks.keys().cloned().collect(),
        }
    }

    /// Tells whether a list says the same, as far as it goes.
    pub(crate) fn agrees_with(&self, listed: &wire::Summary) -> bool {
        let name = listed.names.iter().any(|name| name.trim_start_matches('/') == self.name);
        listed.id == self.id && name && listed.state == self.state
    }

    /// What a list tells, which is less: for containers that the Engine cannot look into.
    pub(crate) fn from_summary(found: wire::Summary) -> Self {
        let name =
            found.names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default();
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut ports: Vec<_> = found
            .ports
            .into_iter()
            .map(|port| PortEntry {
                private: port.private_port,
                public: (port.public_port != 0).then_some(port.public_port),
                protocol: some(port.protocol).unwrap_or_else(|| "tcp".to_owned()),
                address: some(port.address),
            })
            .collect();
        ports.sort();
        Self {
            id: found.id,
            name,
            image: found.image,
            state: found.state,
            created: Timestamp::from_second(found.created).unwrap_or(Timestamp::UNIX_EPOCH),
            started_at: None,
            finished_at: None,
            exit_code: None,
            health: None,
            ports,
            labels: kept(found.labels),
            networks: found.network_settings.networks.into_keys().collect(),
        }
    }
}

/// Reads the Engine's map of ports.
pub(crate) fn ports_of(ports: &wire::Ports) -> Vec<PortEntry> {
    let mut read = Vec::new();
    for (port, bindings) in ports {
        let (private, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(private) = private.parse() else { continue };
        let entry = |public, address| PortEntry { private, public, protocol: protocol.to_owned(), address };
        let bindings = bindings.as_deref().unwrap_or_default();
        if bindings.is_empty() {
            read.push(entry(None, None));
        }
        for binding in bindings {
            let address = (!binding.host_ip.is_empty()).then(|| binding.host_ip.clone());
            read.push(entry(Some(binding.host_port.parse().unwrap_or(0)), address));
        }
    }
    read.sort();
    read
}

/// Leaves out the longest labels until the rest fits.
fn kept(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let length = |(key, value): (&String, &String)| key.len() + value.len();
    let mut total: usize = labels.iter().map(length).sum();
    while total > MAX_LABEL_BYTES {
        let longest = labels.iter().max_by_key(|label| length(*label)).map(|(key, _)| key.clone());
        let Some((key, value)) = longest.and_then(|key| labels.remove_entry(&key)) else { break };
        total -= key.len() + value.len();
    }
    labels
}

/// A span of time in the words of Docker's own command line (go-units, `HumanDuration`).
fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded, not cut.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn spans_of_time_read_as_dockers_own() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (3 * MINUTE, "3 minutes"),
            (59 * MINUTE, "59 minutes"),
            (60 * MINUTE, "About an hour"),
            (89 * MINUTE, "About an hour"),
            (90 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(duration(seconds), words, "{seconds} s");
        }
    }

    fn inspected(json: serde_json::Value) -> ContainerEntry {
        ContainerEntry::from_inspect(&mut serde_json::from_value(json).expect("an answer"))
    }

    #[test]
    fn status_lines_read_as_dockers_own() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a moment");
        let line = |state: serde_json::Value| inspected(serde_json::json!({"State": state})).status_line(now);
        let (started, ended) = ("2026-11-21T10:00:00.5Z", "2026-11-21T11:57:00Z");
        let never = "0001-01-01T00:00:00Z";

        assert_eq!(line(serde_json::json!({"Status": "running", "StartedAt": started})), "Up 2 hours");
        for (health, words) in
            [("healthy", "healthy"), ("unhealthy", "unhealthy"), ("starting", "health: starting")]
        {
            let state =
                serde_json::json!({"Status": "running", "StartedAt": started, "Health": {"Status": health}});
            assert_eq!(line(state), format!("Up 2 hours ({words})"));
        }
        assert_eq!(
            line(serde_json::json!({"Status": "paused", "StartedAt": started})),
            "Up 2 hours (Paused)"
        );
        let exited = serde_json::json!({"Status": "exited", "ExitCode": 137, "StartedAt": started, "FinishedAt": ended});
        assert_eq!(line(exited), "Exited (137) 3 minutes ago");
        let again = serde_json::json!({"Status": "restarting", "ExitCode": 1, "StartedAt": started, "FinishedAt": ended});
        assert_eq!(line(again), "Restarting (1) 3 minutes ago");
        let made = serde_json::json!({"Status": "created", "StartedAt": never, "FinishedAt": never});
        assert_eq!(line(made), "Created");
        assert_eq!(line(serde_json::json!({"Status": "dead"})), "Dead");
    }

    #[test]
    fn an_entry_says_no_more_than_the_engine_does() {
        let entry = inspected(serde_json::json!({
            "Id": "abc", "Name": "/web", "Created": "2026-11-21T10:00:00Z",
            "State": {"Status": "running", "StartedAt": "2026-11-21T10:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z",
                      "ExitCode": 0, "Health": null},
            "Config": {"Image": "nginx:1", "Labels": null, "Entrypoint": null, "Cmd": null},
            "NetworkSettings": {"Networks": {"bridge": null}, "Ports": {
                "80/tcp": [{"HostIp": "::", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}],
                "53/udp": null, "odd": null}},
        }));

        assert_eq!((entry.name.as_str(), entry.image.as_str(), entry.exit_code), ("web", "nginx:1", None));
        assert_eq!((entry.health, entry.finished_at), (None, None));
        assert_eq!(entry.networks, ["bridge"]);
        let port = |private, public: Option<u16>, protocol: &str, address: Option<&str>| PortEntry {
            private,
            public,
            protocol: protocol.to_owned(),
            address: address.map(str::to_owned),
        };
        let expected = [
            port(53, None, "udp", None),
            port(80, Some(8080), "tcp", Some("0.0.0.0")),
            port(80, Some(8080), "tcp", Some("::")),
        ];
        assert_eq!(entry.ports, expected);
    }

    #[test]
    fn t32_labels_without_bounds_are_not_kept() {
        let labels = (0..100).map(|at| (format!("label-{at}"), "x".repeat(at * 100))).collect();

        let kept = kept(labels);

        let total: usize = kept.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(total <= MAX_LABEL_BYTES, "{total}");
        assert!(kept.contains_key("label-0") && !kept.contains_key("label-99"));
    }
}
