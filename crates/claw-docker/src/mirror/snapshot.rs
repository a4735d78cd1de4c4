//! What the Engine had at one moment.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{ContainerEntry, Docker, DockerError, ImageEntry, request::Ask, wire};

/// Most containers that are kept. An Engine gives up long before.
const MAX_CONTAINERS: usize = 20_000;

/// Containers that are looked at side by side.
const LOOKS_AT_ONCE: usize = 8;

/// Fewest digits of an id that stand for it. A shorter one names whatever came last.
const MIN_PREFIX: usize = 4;

/// What the Engine had at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Newest first.
    pub(super) containers: Arc<[ContainerEntry]>,
    pub(super) images: Arc<[ImageEntry]>,
    /// Places in the list, in the order of ids.
    by_id: Box<[u32]>,
    /// Places in the list, in the order of names.
    by_name: Box<[u32]>,
}

/// The answer to a question for one container.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    None,
    One(&'a ContainerEntry),
    Several,
}

impl Snapshot {
    /// Asks the Engine for all there is.
    pub(super) async fn take(docker: &Docker) -> Result<Self, DockerError> {
        let listed = list(docker).await?;
        let looks =
            stream::iter(listed).map(|listed| look_or_list(docker, listed)).buffer_unordered(LOOKS_AT_ONCE);
        let containers: Vec<Option<ContainerEntry>> = looks.try_collect().await?;
        let images = docker.images().await?;
        Ok(Self::new(containers.into_iter().flatten().collect(), images.into()))
    }

    fn new(mut containers: Vec<ContainerEntry>, images: Arc<[ImageEntry]>) -> Self {
        containers.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let sorted_by = |order: fn(&ContainerEntry, &ContainerEntry) -> Ordering| {
            let mut places: Box<[u32]> = (0..containers.len() as u32).collect();
            places.sort_by(|a, b| order(&containers[*a as usize], &containers[*b as usize]));
            places
        };
        let by_id = sorted_by(|a, b| a.id.cmp(&b.id));
        let by_name = sorted_by(|a, b| a.name.cmp(&b.name));
        Self { containers: containers.into(), images, by_id, by_name }
    }

    /// Returns it with what has changed, or `None` when nothing has. A container that is gone is `None`.
    pub(super) fn with(
        &self,
        mut looks: HashMap<String, Option<ContainerEntry>>,
        images: Option<Vec<ImageEntry>>,
    ) -> Option<Self> {
        let images = images.filter(|images| images[..] != self.images[..]);
        looks.retain(|id, look| match self.by_id(id) {
            Some(known) => look.as_ref() != Some(known),
            None => look.is_some(),
        });
        if looks.is_empty() {
            let images = images?.into();
            let (by_id, by_name) = (self.by_id.clone(), self.by_name.clone());
            return Some(Self { containers: Arc::clone(&self.containers), images, by_id, by_name });
        }
        let unchanged = self.containers.iter().filter(|known| !looks.contains_key(&known.id)).cloned();
        let mut containers: Vec<_> = unchanged.collect();
        containers.extend(looks.into_values().flatten());
        containers.truncate(MAX_CONTAINERS);
        Some(Self::new(containers, images.map_or_else(|| Arc::clone(&self.images), Arc::from)))
    }

    /// Returns the ids of containers of which a list tells something else, or of which one side does not know.
    pub(super) fn differing(&self, listed: &[wire::Summary]) -> Vec<String> {
        let mut differing: Vec<_> = listed
            .iter()
            .filter(|listed| !self.by_id(&listed.id).is_some_and(|known| known.agrees_with(listed)))
            .map(|listed| listed.id.clone())
            .collect();
        let mut ids: Vec<_> = listed.iter().map(|listed| listed.id.as_str()).collect();
        ids.sort_unstable();
        let unlisted = self.containers.iter().filter(|known| ids.binary_search(&known.id.as_str()).is_err());
        differing.extend(unlisted.map(|known| known.id.clone()));
        differing
    }

    /// Finds by full id, else by name, else by the beginning of an id.
    pub(super) fn find(&self, wanted: &str) -> Found<'_> {
        if let Some(found) = self.by_id(wanted).or_else(|| self.by_name(wanted)) {
            return Found::One(found);
        }
        if !is_prefix(wanted) {
            return Found::None;
        }
        let first = self.by_id.partition_point(|place| self.at(*place).id.as_str() < wanted);
        let mut found = self.by_id[first..].iter().map(|place| self.at(*place));
        match (found.next(), found.next()) {
            (Some(one), next) if one.id.starts_with(wanted) => {
                if next.is_some_and(|next| next.id.starts_with(wanted)) {
                    Found::Several
                } else {
                    Found::One(one)
                }
            }
            _ => Found::None,
        }
    }

    fn by_id(&self, id: &str) -> Option<&ContainerEntry> {
        let place = self.by_id.binary_search_by(|place| self.at(*place).id.as_str().cmp(id)).ok()?;
        Some(self.at(self.by_id[place]))
    }

    fn by_name(&self, name: &str) -> Option<&ContainerEntry> {
        let place = self.by_name.binary_search_by(|place| self.at(*place).name.as_str().cmp(name)).ok()?;
        Some(self.at(self.by_name[place]))
    }

    fn at(&self, place: u32) -> &ContainerEntry {
        &self.containers[place as usize]
    }
}

/// Tells whether `wanted` is the id, the name or enough of the beginning of the id of a container.
pub(super) fn names(entry: &ContainerEntry, wanted: &str) -> bool {
    entry.id == wanted || entry.name == wanted || (is_prefix(wanted) && entry.id.starts_with(wanted))
}

fn is_prefix(wanted: &str) -> bool {
    wanted.len() >= MIN_PREFIX && wanted.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) async fn list(docker: &Docker) -> Result<Vec<wire::Summary>, DockerError> {
    let listed: Vec<wire::Summary> = docker.ask(Ask::get("/containers/json").with("all", "1")).await?;
    if listed.len() > MAX_CONTAINERS {
        let message = format!("it lists more than {MAX_CONTAINERS} containers");
        return Err(DockerError::Unreadable { message });
    }
    Ok(listed)
}

/// Looks at containers; those that are gone are `None`.
pub(super) async fn look_at(
    docker: &Docker,
    ids: Vec<String>,
) -> Result<HashMap<String, Option<ContainerEntry>>, DockerError> {
    let looks = stream::iter(ids).map(|id| async move {
        let look = look(docker, &id).await?;
        Ok((id, look))
    });
    looks.buffer_unordered(LOOKS_AT_ONCE).try_collect().await
}

async fn look(docker: &Docker, id: &str) -> Result<Option<ContainerEntry>, DockerError> {
    match docker.look(id).await {
        // An id that names another container is a name, or the beginning of an id.
        Ok(mut found) => Ok(Some(ContainerEntry::from_inspect(&mut found)).filter(|entry| entry.id == id)),
        Err(DockerError::NotFound { .. } | DockerError::BadName { .. }) => Ok(None),
        Err(error @ DockerError::Unavailable { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(container.id = id, error = %error, "cannot look at a container; the list must do");
            let listed = list(docker).await?.into_iter().find(|listed| listed.id == id);
            Ok(listed.map(ContainerEntry::from_summary))
        }
    }
}

async fn look_or_list(docker: &Docker, listed: wire::Summary) -> Result<Option<ContainerEntry>, DockerError> {
    match docker.look(&listed.id).await {
        Ok(mut found) => Ok(Some(ContainerEntry::from_inspect(&mut found))),
        Err(DockerError::NotFound { .. } | DockerError::BadName { .. }) => Ok(None),
        Err(error @ DockerError::Unavailable { .. }) => Err(error),
        Err(error) => {
            tracing::warn!(container.id = listed.id, error = %error, "cannot look at a container; the list must do");
            Ok(Some(ContainerEntry::from_summary(listed)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, name: &str) -> ContainerEntry {
        ContainerEntry {
            id: id.to_owned(),
            name: name.to_owned(),
            image: "image:1".to_owned(),
            state: "running".to_owned(),
            created: claw_core::Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            exit_code: None,
            health: None,
            ports: Vec::new(),
            labels: Default::default(),
            networks: Vec::new(),
        }
    }

    fn id(beginning: &str) -> String {
        format!("{beginning:0<64}")
    }

    fn found<'a>(snapshot: &'a Snapshot, wanted: &str) -> Option<&'a str> {
        match snapshot.find(wanted) {
            Found::One(entry) => Some(&entry.name),
            Found::None => None,
            Found::Several => Some("several"),
        }
    }

    #[test]
    fn t8_a_full_id_comes_before_a_name_and_a_name_before_the_beginning_of_an_id() {
        let victim = id("abcd1");
        let snapshot = Snapshot::new(
            vec![
                entry(&victim, "victim"),
                entry(&id("abcd2"), "neighbor"),
                // Names that look like the victim's id, and like its beginning.
                entry(&id("1111"), &victim),
                entry(&id("2222"), "abcd1"),
            ],
            Vec::new().into(),
        );

        assert_eq!(found(&snapshot, &victim), Some("victim"));
        assert_eq!(found(&snapshot, "abcd1"), Some("abcd1"));
        assert_eq!(found(&snapshot, "abcd10"), Some("victim"));
        assert_eq!(found(&snapshot, "abcd"), Some("several"));
        assert_eq!(found(&snapshot, "victim"), Some("victim"));
        for nobody in ["abc", "VICTIM", "/victim", "ABCD1", "vict", &id("abcd3"), "", "ffff", "0000"] {
            assert_eq!(found(&snapshot, nobody), None, "{nobody}");
        }
    }

    #[test]
    fn only_what_has_changed_makes_a_new_snapshot() {
        let snapshot =
            Snapshot::new(vec![entry(&id("aaaa"), "a"), entry(&id("bbbb"), "b")], Vec::new().into());
        let looks = |look: Option<ContainerEntry>| HashMap::from([(id("aaaa"), look)]);

        assert!(snapshot.with(looks(Some(entry(&id("aaaa"), "a"))), None).is_none());
        assert!(snapshot.with(HashMap::from([(id("cccc"), None)]), Some(Vec::new())).is_none());

        let renamed = snapshot.with(looks(Some(entry(&id("aaaa"), "other"))), None).expect("a change");
        assert_eq!(
            (found(&renamed, "other"), found(&renamed, "a"), found(&renamed, "b")),
            (Some("other"), None, Some("b"))
        );
        let removed = renamed.with(looks(None), None).expect("a change");
        assert_eq!(removed.containers.len(), 1);
        assert_eq!(found(&removed, "aaaa"), None);
    }

    #[test]
    fn a_list_shows_what_no_event_told() {
        let snapshot = Snapshot::new(
            vec![entry(&id("aaaa"), "a"), entry(&id("bbbb"), "b"), entry(&id("cccc"), "c")],
            Vec::new().into(),
        );
        let listed = |beginning: &str, name: &str, state: &str| wire::Summary {
            id: id(beginning),
            names: vec![format!("/{name}")],
            state: state.to_owned(),
            ..Default::default()
        };

        let list =
            [listed("aaaa", "a", "running"), listed("bbbb", "b", "exited"), listed("dddd", "d", "created")];

        assert_eq!(snapshot.differing(&list), [id("bbbb"), id("dddd"), id("cccc")]);
    }
}
