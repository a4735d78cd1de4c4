//! The mirror of a real Engine, while others use it.

use std::sync::Arc;

use claw_docker::{ContainerEntry, Docker, Mirror};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::lab::{IMAGE, Leftover, Outsider, PATIENCE, Wire, docker, outside, unique};

/// A mirror whose task ends with the test.
fn mirror_of(docker: Docker) -> (Mirror, DropGuard) {
    let stop = CancellationToken::new();
    let (mirror, task) = Mirror::start(docker, stop.clone());
    tokio::spawn(task);
    (mirror, stop.drop_guard())
}

/// Waits until the mirror shows what is expected.
async fn until(mirror: &Mirror, expected: impl Fn(&[ContainerEntry]) -> bool) -> Arc<[ContainerEntry]> {
    let mut changed = mirror.changed();
    let waited = timeout(PATIENCE, async {
        loop {
            if let Ok(list) = mirror.containers().await
                && expected(&list)
            {
                return list;
            }
            changed.changed().await.expect("the mirror goes on");
        }
    });
    waited.await.expect("the mirror shows it")
}

fn state<'a>(list: &'a [ContainerEntry], id: &str) -> Option<&'a str> {
    list.iter().find(|entry| entry.id == id).map(|entry| entry.state.as_str())
}

#[tokio::test]
async fn what_others_do_with_containers_is_seen() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    mirror.containers().await.expect("an Engine");

    let made = Outsider::create(
        "mirror",
        &["--label", "claw.test=mirror"],
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    );
    let list = until(&mirror, |list| state(list, &made.id) == Some("created")).await;
    let entry = list.iter().find(|entry| entry.id == made.id).expect("the container");
    assert_eq!((&entry.name, entry.image.as_str()), (&made.name, IMAGE));
    assert_eq!(entry.labels["claw.test"], "mirror");
    assert_eq!(entry.networks, ["none"]);

    outside(&["start", &made.id]);
    until(&mirror, |list| state(list, &made.id) == Some("running")).await;
    made.ready(&docker).await;
    outside(&["pause", &made.id]);
    until(&mirror, |list| state(list, &made.id) == Some("paused")).await;
    outside(&["unpause", &made.id]);
    until(&mirror, |list| state(list, &made.id) == Some("running")).await;
    outside(&["stop", "--time", "20", &made.id]);
    let list = until(&mirror, |list| state(list, &made.id) == Some("exited")).await;
    let entry = list.iter().find(|entry| entry.id == made.id).expect("the container");
    let line = entry.status_line(claw_core::Clock::now(&claw_core::SystemClock));
    assert!(line.starts_with("Exited (3) ") && line.ends_with(" ago"), "{line}");

    let renamed = unique("renamed");
    outside(&["rename", &made.id, &renamed]);
    until(&mirror, |list| list.iter().any(|entry| entry.id == made.id && entry.name == renamed)).await;
    assert_eq!(mirror.find(&renamed).await.expect("an Engine").expect("found").id, made.id);
    assert_eq!(mirror.find(&made.name).await.expect("an Engine"), None);

    outside(&["rm", &made.id]);
    until(&mirror, |list| state(list, &made.id).is_none()).await;
    assert_eq!(mirror.find(&made.id).await.expect("an Engine"), None);
}

#[tokio::test]
async fn ports_and_networks_are_seen_as_they_change() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    let network = unique("network");
    let _network = Leftover(["network", "rm", &network]);
    outside(&["network", "create", "--internal", &network]);
    let made =
        Outsider::create("ports", &["--network", "bridge", "--publish", "127.0.0.1:0:80"], "sleep 1000");

    outside(&["start", &made.id]);
    let list = until(&mirror, |list| state(list, &made.id) == Some("running")).await;
    outside(&["network", "connect", &network, &made.id]);
    let joined = until(&mirror, |list| {
        list.iter().any(|entry| entry.id == made.id && entry.networks.contains(&network))
    });
    joined.await;

    let entry =
        list.iter().find(|entry| !entry.ports.is_empty() && entry.ports[0].private == 80).expect("the port");
    let port = &entry.ports[0];
    assert_eq!((port.protocol.as_str(), port.address.as_deref()), ("tcp", Some("127.0.0.1")));
    assert!(port.public.is_some_and(|public| public > 0), "{port:?}");
}

#[tokio::test]
async fn our_own_changes_are_seen_at_once_when_settled() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    mirror.containers().await.expect("an Engine");
    let made = Outsider::create("settled", &[], "sleep 1000");

    docker.start(&made.id).await.expect("started");
    mirror.settled(&made.id).await;
    assert_eq!(state(&mirror.containers().await.expect("an Engine"), &made.id), Some("running"));

    docker.remove_force(&made.id).await.expect("removed");
    mirror.settled(&made.id).await;
    assert_eq!(state(&mirror.containers().await.expect("an Engine"), &made.id), None);
}

#[tokio::test]
async fn a_container_is_found_by_id_beginning_and_name_at_once() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    mirror.containers().await.expect("an Engine");

    let made = Outsider::create("find", &[], "true");
    for wanted in [&made.id, &made.id[..12], &made.name] {
        assert_eq!(mirror.find(wanted).await.expect("an Engine").expect(wanted).id, made.id);
    }
    for nobody in
        [&made.id[..3], &made.name.to_uppercase(), &format!("/{}", made.name), "-a", "--help", "../x", ""]
    {
        assert_eq!(mirror.find(nobody).await.expect("an Engine"), None, "{nobody}");
    }
}

#[tokio::test]
async fn t8_a_name_that_looks_like_anothers_id_does_not_stand_for_it() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    let victim = Outsider::create("victim", &[], "true");
    let mut thief = Outsider::create("thief", &[], "true");
    // Docker lets a name be the whole id of another, and the beginning of it.
    for name in [victim.id.clone(), victim.id[..12].to_owned()] {
        outside(&["rename", &thief.id, &name]);
        thief.name = name;
        mirror.settled(&thief.id).await;
        mirror.settled(&victim.id).await;

        let full = mirror.find(&victim.id).await.expect("an Engine").expect("found");
        let named = mirror.find(&thief.name).await.expect("an Engine").expect("found");

        assert_eq!(full.id, victim.id);
        assert_eq!(
            named.id,
            outside(&["inspect", "--format", "{{.Id}}", &thief.name]),
            "as Docker itself takes it"
        );
    }
}

#[tokio::test]
async fn images_are_seen_as_they_come_and_go() {
    let docker = docker().await;
    let (mirror, _stop) = mirror_of(docker.clone());
    mirror.images().await.expect("an Engine");
    let name = format!("{}:1", unique("image"));
    let known =
        async || mirror.images().await.expect("an Engine").iter().any(|image| image.tags.contains(&name));

    let _tag = Leftover(["rmi", "--no-prune", &name]);
    outside(&["tag", IMAGE, &name]);
    let mut changed = mirror.changed();
    let seen = timeout(PATIENCE, async {
        while !known().await {
            changed.changed().await.expect("the mirror goes on");
        }
    });
    seen.await.expect("the mirror shows it");
    docker.remove_image(&name).await.expect("removed");
    mirror.settled_images().await;

    assert!(!known().await);
}

#[tokio::test]
async fn what_happened_while_the_events_were_cut_is_seen_after() {
    docker().await;
    let wire = Wire::to_the_engine();
    let (mirror, _stop) = mirror_of(wire.docker());
    let removed = Outsider::create("cut", &[], "true");
    let kept = Outsider::create("cut", &[], "true");
    until(&mirror, |list| state(list, &removed.id).is_some() && state(list, &kept.id).is_some()).await;

    wire.cut();
    let mut changed = mirror.changed();
    let away = timeout(PATIENCE, async {
        loop {
            match mirror.containers().await {
                Err(error) => break error,
                Ok(_) => changed.changed().await.expect("the mirror goes on"),
            }
        }
    });
    let error = away.await.expect("the mirror does not show what may be old");
    outside(&["rm", &removed.id]);
    outside(&["start", &kept.id]);
    let made = Outsider::create("cut", &[], "true");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(mirror.images().await.is_err() && mirror.find(&kept.id).await.is_err());
    mirror.settled(&kept.id).await;

    wire.mend();
    let list = until(&mirror, |list| state(list, &kept.id) == Some("exited")).await;

    assert_eq!(state(&list, &removed.id), None);
    assert!(state(&list, &made.id).is_some());
}
