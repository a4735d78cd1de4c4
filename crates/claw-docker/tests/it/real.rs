//! A real Engine at `DOCKER_HOST` or the default socket, with the sandbox image.

use std::collections::BTreeMap;

use claw_docker::{
    Chunk, ContainerNetwork, ContainerState, DockerError, Mount, MountSource, SandboxContainer, Status,
};
use futures_util::StreamExt;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::lab::{IMAGE, PATIENCE, docker, unique};

fn bash(name: &str, script: &str) -> SandboxContainer {
    SandboxContainer {
        name: name.to_owned(),
        image: IMAGE.to_owned(),
        user: (10001, 10001),
        program: vec!["bash".to_owned()],
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        labels: BTreeMap::from([("claw.test".to_owned(), name.to_owned())]),
        working_dir: "/".to_owned(),
        network: ContainerNetwork::None,
        memory_bytes: 256 << 20,
        cpus: 1.0,
        pids: 64,
        tmp_bytes: 16 << 20,
        mounts: Vec::new(),
        runtime: None,
    }
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let docker = docker().await;

    let info = docker.info().await.expect("info");

    assert!(!info.server_version.is_empty() && !info.os.is_empty(), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(info.cpus > 0 && info.memory_bytes > 0, "{info:?}");
}

#[tokio::test]
async fn an_image_is_found_by_name_and_by_id_and_an_absent_one_is_none() {
    let docker = docker().await;

    let image = docker.image(IMAGE).await.expect("asked").expect("there");
    let by_id = docker.image(&image.id).await.expect("asked").expect("there");

    assert_eq!(image, by_id);
    assert!(image.size_bytes > 1 << 20, "{image:?}");
    assert!(image.labels.contains_key("claw.content-hash"), "{image:?}");
    assert_eq!(docker.image("claw-no-such-image:1").await.expect("asked"), None);
    let listed = docker.images_of("claw-sandbox").await.expect("listed");
    assert!(listed.iter().any(|listed| listed.id == image.id), "{listed:?}");
    assert_eq!(docker.images_of("claw-no-such-image").await.expect("listed"), []);
}

#[tokio::test]
async fn a_container_lives_from_creation_to_removal() {
    let docker = docker().await;
    let name = unique("life");

    let script = r#"echo "$GREETING"; cat; echo complaint >&2; exit 3"#;
    let id = docker.create_container(bash(&name, script)).await.expect("created");
    assert_eq!(docker.state(&id).await.expect("state").status, Status::Created);
    let mut streams = docker.attach(&id).await.expect("attached");
    docker.start(&id).await.expect("started");
    streams.stdin.write_all(b"from stdin\n").await.expect("written");
    streams.stdin.shutdown().await.expect("closed");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(chunk) = streams.output.next().await {
            match chunk.expect("output") {
                Chunk::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                Chunk::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("the output ends");

    assert_eq!(String::from_utf8_lossy(&stdout), "hello\nfrom stdin\n");
    assert_eq!(String::from_utf8_lossy(&stderr), "complaint\n");
    assert_eq!(timeout(PATIENCE, docker.wait(&id)).await.expect("ends").expect("code"), 3);
    let ended = ContainerState { status: Status::Exited, exit_code: 3, out_of_memory: false };
    assert_eq!(docker.state(&id).await.expect("state"), ended);
    let found = docker.containers_with_label("claw.test", &name).await.expect("listed");
    assert_eq!(found.iter().map(|found| (&found.id, &found.name)).collect::<Vec<_>>(), [(&id, &name)]);

    docker.remove_force(&id).await.expect("removed");

    docker.remove_force(&id).await.expect("removing what is gone is fine");
    assert!(docker.state(&id).await.expect_err("gone").is_not_found());
    assert_eq!(docker.containers_with_label("claw.test", &name).await.expect("listed"), []);
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_and_so_is_a_signal_to_what_does_not_run() {
    let docker = docker().await;
    let name = unique("conflict");
    docker.create_container(bash(&name, "true")).await.expect("created");

    let again = docker.create_container(bash(&name, "true")).await.expect_err("the name is taken");
    let signal = docker.kill(&name).await.expect_err("it does not run");
    docker.remove_force(&name).await.expect("removed");

    assert!(matches!(again, DockerError::Conflict { .. }), "{again:?}");
    assert!(matches!(signal, DockerError::Conflict { .. }), "{signal:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let docker = docker().await;
    let name = unique("absent");

    let image = SandboxContainer { image: "claw-no-such-image:1".to_owned(), ..bash(&name, "true") };
    assert!(docker.create_container(image).await.expect_err("no image").is_not_found());
    assert!(docker.start(&name).await.expect_err("no container").is_not_found());
    assert!(docker.kill(&name).await.expect_err("no container").is_not_found());
    assert!(docker.wait(&name).await.expect_err("no container").is_not_found());
    assert!(docker.attach(&name).await.err().expect("no container").is_not_found());
    docker.remove_volume(&name).await.expect("an absent volume is as good as removed");
}

#[tokio::test]
async fn a_runtime_that_does_not_exist_is_refused_with_the_engines_words() {
    let docker = docker().await;
    let runtime = Some("claw-no-such-runtime".to_owned());

    let error =
        docker.create_container(SandboxContainer { runtime, ..bash(&unique("runtime"), "true") }).await;

    let error = error.expect_err("cannot be made");
    assert!(matches!(error, DockerError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("claw-no-such-runtime"), "{error}");
}

#[tokio::test]
async fn a_missing_host_folder_is_refused_and_not_made() {
    let docker = docker().await;
    let name = unique("folder");
    let folder = format!("/tmp/{name}");
    let source = MountSource::HostFolder(folder.clone());
    let mounts = vec![Mount { source, target: "/workspace".to_owned(), read_only: false }];

    let error = docker.create_container(SandboxContainer { mounts, ..bash(&name, "true") }).await;

    assert!(matches!(error, Err(DockerError::Refused { .. })), "{error:?}");
    assert!(!std::path::Path::new(&folder).exists());
}

#[tokio::test]
async fn a_volume_in_use_is_a_conflict_and_is_found_by_its_labels() {
    let docker = docker().await;
    let name = unique("volume");
    let labels = BTreeMap::from([("claw.test".to_owned(), name.clone())]);
    let source = MountSource::Volume { name: name.clone(), labels };
    let mounts = vec![Mount { source, target: "/home/claw".to_owned(), read_only: false }];
    docker.create_container(SandboxContainer { mounts, ..bash(&name, "true") }).await.expect("created");

    let in_use = docker.remove_volume(&name).await;
    let found = docker.volumes_with_labels(&[("claw.test", &name)]).await.expect("listed");
    docker.remove_force(&name).await.expect("removed");
    docker.remove_volume(&name).await.expect("removed");

    assert!(matches!(in_use, Err(DockerError::Conflict { .. })), "{in_use:?}");
    assert_eq!(found.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&name]);
    assert_eq!(docker.volumes_with_labels(&[("claw.test", &name)]).await.expect("listed"), []);
}
