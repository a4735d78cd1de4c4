//! What is to be looked at again, and when.

use std::collections::HashSet;

use tokio::{sync::oneshot, time::Instant};

use super::MirrorPace;
use crate::EngineEvent;

/// More containers than this are not named one by one: everything is looked at.
const MAX_NAMED: usize = 4096;

/// Events that change nothing of what is shown. Health checks alone bring three of them each time.
const IDLE: &[&str] = &[
    "attach",
    "detach",
    "commit",
    "copy",
    "export",
    "resize",
    "top",
    "exec_create",
    "exec_start",
    "exec_die",
    "exec_detach",
    "exec",
    "exec_died",
    "archive-path",
    "extract-to-dir",
    "checkpoint",
    "sync",
    "save",
    "push",
    "history",
    "search",
];

/// What is to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) containers: HashSet<String>,
    pub(super) images: bool,
    pub(super) all: bool,
    /// Who waits for it.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    /// When the next round begins.
    due: Option<Instant>,
    /// When the last one did.
    last: Option<Instant>,
}

impl Pending {
    /// Notes what an event names.
    pub(super) fn note(&mut self, event: &EngineEvent, pace: &MirrorPace) {
        let action = event.action.split(':').next().unwrap_or_default();
        if IDLE.contains(&action) {
            return;
        }
        match event.kind.as_str() {
            // Without an id it concerns many, as `prune` does.
            "container" if event.id.is_empty() => self.all = true,
            "container" => self.container(event.id.clone()),
            "network" => match event.attributes.get("container") {
                Some(container) if !container.is_empty() => self.container(container.clone()),
                _ => return,
            },
            "image" => self.images = true,
            _ => return,
        }
        self.soon(pace);
    }

    pub(super) fn container(&mut self, id: String) {
        if self.containers.len() < MAX_NAMED {
            self.containers.insert(id);
        } else {
            self.all = true;
        }
    }

    /// Begins the next round after a moment in which more may come, and not too soon after the last.
    pub(super) fn soon(&mut self, pace: &MirrorPace) {
        let now = Instant::now();
        let rested = self.last.map_or(now, |last| last + pace.rest);
        self.due.get_or_insert(rested.max(now + pace.gather));
    }

    /// Begins the next round at once.
    pub(super) fn now(&mut self) {
        self.due = Some(Instant::now());
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes all of it out, for a round that begins now.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { last: Some(Instant::now()), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str, id: &str) -> EngineEvent {
        EngineEvent {
            kind: kind.to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            attributes: Default::default(),
            at: claw_core::Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c1_a_container_is_looked_at_once_for_many_events() {
        let pace = MirrorPace::default();
        let mut pending = Pending::default();

        for action in ["create", "start", "die", "stop", "health_status: healthy", "exec_start: ls"] {
            pending.note(&event("container", action, "one"), &pace);
        }
        let due = pending.due();
        let round = pending.take();

        assert_eq!(round.containers, HashSet::from(["one".to_owned()]));
        assert_eq!(due, Some(Instant::now() + pace.gather));
        pending.note(&event("container", "start", "one"), &pace);
        assert_eq!(pending.due(), Some(Instant::now() + pace.rest), "not sooner, however much happens");
    }

    #[test]
    fn events_of_health_checks_and_of_other_things_are_no_reason_to_look() {
        let mut pending = Pending::default();
        for (kind, action) in [
            ("container", "exec_create: curl -f http://localhost"),
            ("container", "exec_die"),
            ("volume", "create"),
            ("network", "create"),
            ("daemon", "reload"),
            ("image", "push"),
            ("", ""),
        ] {
            pending.note(&event(kind, action, "one"), &MirrorPace::default());
        }

        assert_eq!(
            (pending.due(), pending.containers.len(), pending.images, pending.all),
            (None, 0, false, false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn t32_a_flood_of_ids_is_one_look_at_everything() {
        let mut pending = Pending::default();
        for id in 0..100_000 {
            pending.note(&event("container", "start", &id.to_string()), &MirrorPace::default());
        }

        assert!(pending.all && pending.containers.len() == MAX_NAMED);
    }
}
