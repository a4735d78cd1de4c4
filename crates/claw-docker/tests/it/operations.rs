//! Operations on a real Engine, on what somebody else has made.

use std::{collections::BTreeMap, time::Duration};

use claw_core::{Coded, ErrorCode};
use claw_docker::{
    DockerError, LogsQuery, RemoveContainer,
    policy::{ContainerWish, Facts, Grants, Own, Policy},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::lab::{IMAGE, Leftover, Outsider, PATIENCE, docker, outside, unique};

#[tokio::test]
async fn the_engine_says_its_version_and_where_it_keeps_things() {
    let docker = docker().await;

    let version = docker.engine_version().await.expect("asked");

    assert_eq!(version.version, outside(&["version", "--format", "{{.Server.Version}}"]));
    assert_eq!(version.api_version, outside(&["version", "--format", "{{.Server.APIVersion}}"]));
    assert_eq!(version.root_dir, outside(&["info", "--format", "{{.DockerRootDir}}"]));
    assert!(version.cpus > 0 && version.memory_bytes > 0 && !version.arch.is_empty(), "{version:?}");
}

#[tokio::test]
async fn a_container_is_stopped_restarted_and_removed() {
    let docker = docker().await;
    let made = Outsider::run("stop", &[], "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    made.ready(&docker).await;

    docker.stop(&made.id, Duration::from_secs(20)).await.expect("stopped");
    let stopped = docker.inspect(&made.name).await.expect("there").entry;
    docker.stop(&made.id, Duration::ZERO).await.expect("what does not run is stopped");
    docker.restart(&made.id, Duration::ZERO).await.expect("restarted");
    let restarted = docker.inspect(&made.name).await.expect("there").entry;
    let refused = docker.remove(&made.id, RemoveContainer::default()).await.expect_err("it runs");
    docker.remove(&made.id, RemoveContainer { volumes: true, force: true }).await.expect("removed");

    assert_eq!((stopped.state.as_str(), stopped.exit_code), ("exited", Some(7)));
    assert_eq!((restarted.state.as_str(), restarted.exit_code), ("running", None));
    assert!(restarted.started_at > stopped.started_at, "{restarted:?}");
    assert!(matches!(refused, DockerError::Conflict { .. }), "{refused:?}");
    assert!(docker.inspect(&made.id).await.expect_err("gone").is_not_found());
}

#[tokio::test]
async fn b6_an_unknown_container_is_not_found_in_every_operation_and_docker_says_so() {
    let docker = docker().await;
    let name = unique("nobody");
    let mut log = docker.logs(&name, LogsQuery::default());

    for error in [
        docker.inspect(&name).await.map(drop).expect_err("nobody"),
        docker.start(&name).await.expect_err("nobody"),
        docker.stop(&name, Duration::ZERO).await.expect_err("nobody"),
        docker.restart(&name, Duration::ZERO).await.expect_err("nobody"),
        docker.remove(&name, RemoveContainer::default()).await.expect_err("nobody"),
        docker.stats(&name).await.map(drop).expect_err("nobody"),
        log.next().await.expect("an item").map(drop).expect_err("nobody"),
    ] {
        assert!(matches!(error, DockerError::NotFound { .. }), "{error:?}");
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.to_string().contains(&name) && !error.to_string().contains("exit status"), "{error}");
    }
    assert!(log.next().await.is_none(), "an error is the last item");
    let absent = docker.inspect_image(&format!("{name}:1")).await.expect_err("no image");
    assert_eq!(absent.code(), ErrorCode::NotFound);
    assert_eq!(
        docker.remove_image(&format!("{name}:1")).await.expect_err("no image").code(),
        ErrorCode::NotFound
    );
    assert_eq!(docker.volume(&name).await.expect("asked"), None);
}

#[tokio::test]
async fn b6_why_a_container_does_not_start_is_said_in_dockers_words() {
    let docker = docker().await;
    let name = unique("start");
    let id =
        outside(&["create", "--name", &name, "--network", "none", "--entrypoint", "/no/such/program", IMAGE]);
    let _removed = Outsider { id: id.clone(), name };

    let error = docker.start(&id).await.expect_err("cannot start");

    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn a15_what_looks_like_an_option_or_a_path_is_no_name() {
    let docker = docker().await;

    for name in ["-a", "--help", "--format={{.}}", "a/../../images", "..", "a?all=1", "a b", "", "ä"] {
        for error in [
            docker.inspect(name).await.map(drop).expect_err(name),
            docker.start(name).await.expect_err(name),
            docker.stop(name, Duration::ZERO).await.expect_err(name),
            docker.remove(name, RemoveContainer::default()).await.expect_err(name),
            docker.stats(name).await.map(drop).expect_err(name),
            docker.logs(name, LogsQuery::default()).next().await.expect("an item").map(drop).expect_err(name),
        ] {
            assert!(matches!(error, DockerError::BadName { .. }), "{name}: {error:?}");
        }
    }
    for reference in ["-a", "--all-tags", "../containers/json", "a?force=1", "a b", "", "//x"] {
        for error in [
            docker.inspect_image(reference).await.map(drop).expect_err(reference),
            docker.remove_image(reference).await.expect_err(reference),
            docker.pull(reference).next().await.expect("an item").map(drop).expect_err(reference),
        ] {
            assert!(matches!(error, DockerError::BadName { .. }), "{reference}: {error:?}");
        }
    }
}

#[tokio::test]
async fn all_that_is_known_of_a_container_is_told() {
    let docker = docker().await;
    let volume = unique("details");
    let _volume = Leftover(["volume", "rm", &volume]);
    let mount = format!("type=volume,source={volume},target=/data,readonly");
    let options = [
        "--env",
        "COLOR=a=b",
        "--label",
        "claw.test=details",
        "--workdir",
        "/tmp",
        "--user",
        "10001",
        "--hostname",
        "inside",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "32",
        "--read-only",
        "--restart",
        "on-failure",
        "--cap-add",
        "NET_ADMIN",
        "--mount",
        &mount,
        "--publish",
        "127.0.0.1:0:80/udp",
        "--expose",
        "81",
    ];

    let made = Outsider::create("details", &options, "true");
    let details = docker.inspect(&made.name).await.expect("there");
    outside(&["rm", "--force", &made.id]);
    let known = docker.volume(&volume).await.expect("asked").expect("there");
    let listed = docker.volumes().await.expect("listed");

    let entry = &details.entry;
    assert_eq!((&entry.id, &entry.name, entry.image.as_str()), (&made.id, &made.name, IMAGE));
    assert_eq!((entry.state.as_str(), entry.started_at, entry.exit_code), ("created", None, None));
    assert_eq!(entry.labels["claw.test"], "details");
    assert_eq!(
        (details.entrypoint, details.command),
        (vec!["bash".to_owned()], vec!["-c".to_owned(), "true".to_owned()])
    );
    let color = details.environment.iter().find(|variable| variable.name == "COLOR").expect("the variable");
    assert_eq!((color.value.as_str(), format!("{color:?}")), ("a=b", "COLOR=***".to_owned()));
    assert_eq!((details.working_dir.as_str(), details.user.as_str()), ("/tmp", "10001"));
    assert_eq!((details.hostname.as_str(), details.network_mode.as_str()), ("inside", "none"));
    let limits = (details.memory_bytes, details.nano_cpus, details.pids);
    assert_eq!(limits, (Some(64 << 20), Some(500_000_000), Some(32)));
    assert_eq!(
        (details.restart_policy.as_str(), details.read_only, details.privileged),
        ("on-failure", true, false)
    );
    assert!(details.cap_add[0].contains("NET_ADMIN"), "{:?}", details.cap_add);
    let mount = &details.mounts[0];
    assert_eq!((mount.kind.as_str(), mount.target.as_str(), mount.read_only), ("volume", "/data", true));
    assert_eq!((mount.volume.as_ref(), mount.driver.as_deref()), (Some(&volume), Some("local")));
    let bound = &details.port_bindings[0];
    assert_eq!((bound.private, bound.public, bound.protocol.as_str()), (80, Some(0), "udp"));
    assert!(
        known.folder.ends_with("_data") && known.driver == "local" && known.options.is_empty(),
        "{known:?}"
    );
    assert!(listed.contains(&known));
}

#[tokio::test]
async fn what_a_container_uses_is_measured_while_it_runs() {
    let docker = docker().await;
    let busy = Outsider::run("stats", &["--memory", "256m", "--cpus", "0.5"], "while :; do :; done");
    let idle = Outsider::create("stats", &[], "true");

    let stats = docker.stats(&busy.id).await.expect("measured");
    let nothing = docker.stats(&idle.id).await.expect("nothing to measure");

    assert!(stats.cpu_percent > 0.0 && stats.pids > 0, "{stats:?}");
    assert!(stats.memory_bytes > 0 && stats.memory_limit == 256 << 20, "{stats:?}");
    assert!(stats.memory_percent() > 0.0 && stats.memory_percent() < 100.0, "{stats:?}");
    assert_eq!(nothing, claw_docker::ContainerStats::default());
}

#[tokio::test]
async fn images_and_networks_are_listed_and_looked_into() {
    let docker = docker().await;

    let images = docker.images().await.expect("listed");
    let image = docker.inspect_image(IMAGE).await.expect("there");
    let networks = docker.networks().await.expect("listed");

    assert!(images.contains(&image.entry), "{:?} in {images:?}", image.entry);
    assert!(image.entry.tags.contains(&IMAGE.to_owned()) && image.entry.size_bytes > 1 << 20, "{image:?}");
    assert_eq!(image.os, "linux");
    assert!(image.environment.iter().any(|variable| variable.name == "PATH"), "{image:?}");
    let bridge = networks.iter().find(|network| network.name == "bridge").expect("every Engine has one");
    assert!(bridge.driver == "bridge" && bridge.subnets[0].contains('/') && !bridge.internal, "{bridge:?}");
}

#[tokio::test]
async fn an_image_that_a_container_uses_is_not_removed() {
    let docker = docker().await;
    let name = format!("{}:1", unique("image"));
    let _tag = Leftover(["rmi", "--no-prune", &name]);
    outside(&["tag", IMAGE, &name]);
    let id = docker.inspect_image(&name).await.expect("there").entry.id;
    let made = Outsider::create("image", &[], "true");

    let in_use = docker.remove_image(&id).await;
    docker.remove_image(&name).await.expect("one name of several goes");

    assert!(matches!(in_use, Err(DockerError::Conflict { .. })), "{in_use:?} {}", made.name);
    assert!(docker.inspect_image(&name).await.expect_err("gone").is_not_found());
    docker.inspect_image(IMAGE).await.expect("the other name is still there");
}

#[tokio::test]
async fn events_tell_what_others_do() {
    let docker = docker().await;
    let made = Outsider::create("events", &["--label", "claw.test=events"], "true");
    let since = docker.inspect(&made.id).await.expect("there").entry.created;
    let mut events = docker.events(Some(since));

    let mut next = async |action: &str| loop {
        let event = timeout(PATIENCE, events.next()).await.expect("an event comes");
        let event = event.expect("the stream goes on").expect("an event");
        if event.id == made.id && event.action == action {
            break event;
        }
    };
    let created = next("create").await;
    outside(&["rename", &made.id, &unique("events")]);
    let renamed = next("rename").await;

    assert_eq!(created.kind, "container");
    assert_eq!(created.attributes["claw.test"], "events");
    assert!(created.at >= since && renamed.at > created.at, "{created:?} {renamed:?}");
    assert_eq!(renamed.attributes["oldName"], format!("/{}", made.name));
}

#[tokio::test]
async fn b5_a_container_that_is_made_is_its_id_and_an_absent_image_is_said() {
    let docker = docker().await;
    // Tests have names that are ours.
    let (policy, own) = (Policy::default(), Own { names: Vec::new(), ..Own::default() });
    let make = async |image: &str| {
        let name = unique("make");
        let wish = ContainerWish {
            name: Some(name.clone()),
            image: image.to_owned(),
            entrypoint: Some(vec!["bash".to_owned()]),
            command: Some(vec!["-c".to_owned(), "echo made".to_owned()]),
            ..Default::default()
        };
        let facts = Facts::gather(&docker, &policy, std::slice::from_ref(&wish), &own).await.expect("facts");
        let approved = policy.judge(&wish, &facts, &Grants::default()).expect("an ordinary wish");
        let labels = BTreeMap::from([("claw.test".to_owned(), "make".to_owned())]);
        docker.make(&approved, labels).await.map(|id| Outsider { id, name })
    };

    let made = make(IMAGE).await.expect("made");
    let absent = make("claw-no-such-image:1").await.err().expect("nothing is pulled in passing");
    docker.start(&made.id).await.expect("started");
    let code = docker.wait(&made.id).await.expect("ends");
    let log = docker.log_text(&made.id, LogsQuery::default(), 1000).await.expect("a log");
    let entry = docker.inspect(&made.name).await.expect("there").entry;

    assert!(made.id.len() == 64 && made.id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", made.id);
    assert_eq!((code, log.text.as_str(), &entry.id), (0, "made\n", &made.id));
    assert_eq!(entry.labels["claw.test"], "make");
    assert!(absent.is_not_found() && absent.to_string().contains("claw-no-such-image"), "{absent}");
}
