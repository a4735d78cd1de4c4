//! What an image brings with it.

use std::{collections::BTreeMap, time::Duration};

use claw_core::Timestamp;
use claw_docker::{
    ImageDetails, ImageEntry,
    policy::{
        Facts, Grants, Mounted, Own, PathFact, PathKind, Policy,
        corpus::world::{APPS, facts, pairs, plain, texts},
    },
};

fn image(change: impl FnOnce(&mut ImageDetails)) -> ImageDetails {
    let entry = ImageEntry {
        id: "sha256:abc".to_owned(),
        tags: texts(&["nginx:1.29"]),
        digests: Vec::new(),
        created: Timestamp::UNIX_EPOCH,
        size_bytes: 1,
    };
    let mut image = ImageDetails {
        entry,
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        labels: pairs(&[("org.opencontainers.image.title", "nginx"), ("maintainer", "x")]),
        entrypoint: texts(&["/docker-entrypoint.sh"]),
        command: Vec::new(),
        environment: Vec::new(),
        user: String::new(),
        working_dir: "/app".to_owned(),
        ports: texts(&["22/tcp"]),
        volumes: texts(&["/data"]),
        health_interval: Some(Duration::from_secs(30)),
    };
    change(&mut image);
    image
}

fn judged(policy: &str, image: &ImageDetails) -> Result<BTreeMap<String, String>, Vec<&'static str>> {
    let policy = Policy::parse(policy).expect("readable");
    let approved = policy.judge(&plain(), &facts(&plain()), &Grants::default()).expect("permitted");
    let result = approved.of_image(&policy, image, &Own::default());
    let result =
        result.map_err(|refused| refused.refusals.iter().map(|refusal| refusal.rule).collect::<Vec<_>>())?;
    let made = result.wish();
    assert_eq!(made.labels.clone(), result.wish().labels);
    if image.health_interval.is_none_or(|pace| pace >= Duration::from_secs(1)) {
        assert_eq!(made.healthcheck, None);
    }
    Ok(made.labels.clone())
}

#[test]
fn t10_t7_labels_that_others_believe_come_with_no_image() {
    assert_eq!(judged("", &image(|_| {})), Ok(BTreeMap::new()));
    for label in ["claw.instance", "CLAW.job", "io.clawmachine.protected", "wagmios.x", "clawmachine.owner"] {
        let carrying = image(|image| image.labels = pairs(&[(label, "x")]));
        assert_eq!(judged("", &carrying), Err(vec!["image.labels"]), "{label}");
        // No line of the policy permits it.
        assert!(judged("labels.allowed = ['claw', 'io', 'wagmios']", &carrying).is_err(), "{label}");
    }
    for label in [
        "com.docker.compose.project",
        "com.docker.compose.service",
        "Com.Docker.Compose.project",
        "traefik.enable",
        "com.centurylinklabs.watchtower.lifecycle.pre-update",
        "ofelia.job-exec.x.command",
        "caddy",
    ] {
        let carrying = image(|image| image.labels = pairs(&[(label, "evil"), ("a", "b")]));
        assert_eq!(judged("", &carrying), Ok(pairs(&[(label, "")])), "{label}");
    }
    let permitted = image(|image| image.labels = pairs(&[("traefik.enable", "true")]));
    assert_eq!(judged("labels.allowed = ['traefik']", &permitted), Ok(BTreeMap::new()));
}

#[test]
fn t10_an_image_starts_in_no_folder_of_the_kernels() {
    for folder in
        ["/proc/self/fd/7", "/proc/self/fd/8/../..", "//proc/1", "/sys/fs/cgroup", "app", "/a/../../x"]
    {
        let odd = image(|image| image.working_dir = folder.to_owned());
        assert_eq!(judged("", &odd), Err(vec!["image.working-dir"]), "{folder}");
    }
    // Where it does not count, it does no harm.
    let odd = image(|image| image.working_dir = "/proc/self/fd/7".to_owned());
    let policy = Policy::default();
    let mut wish = plain();
    wish.working_dir = Some("/app".to_owned());
    assert!(policy.judge_image(&wish, &odd, &Own::default()).is_ok());
}

#[test]
fn t10_the_health_check_of_an_image_runs_once_a_second_at_most() {
    let policy = Policy::default();
    let quick = image(|image| image.health_interval = Some(Duration::from_millis(1)));

    let result = policy.judge_image(&plain(), &quick, &Own::default()).expect("permitted");

    let health = result.healthcheck.expect("a pace");
    assert_eq!((health.interval, health.test), (Some(Duration::from_secs(1)), Vec::new()));
    let mut wish = plain();
    wish.healthcheck = Some(claw_docker::policy::HealthWish {
        interval: Some(Duration::from_secs(9)),
        ..Default::default()
    });
    let result = policy.judge_image(&wish, &quick, &Own::default()).expect("permitted");
    assert_eq!(result, wish);
}

#[test]
fn t12_whoever_has_mounted_the_place_of_an_app_is_found() {
    let facts = |source: &str, container: &str| Facts {
        own: Own { apps_folder: Some(APPS.to_owned()), ..Own::default() },
        protected: ["homelab".to_owned()].into(),
        paths: [(APPS.to_owned(), PathFact { real: "/mnt/apps".to_owned(), kind: PathKind::Folder })].into(),
        mounted: vec![Mounted {
            container: Some(container.to_owned()),
            source: source.to_owned(),
            read_only: true,
        }],
        ..Facts::default()
    };
    let open = |source: &str| facts(source, "spy").open_to(&format!("{APPS}/vault/home")).is_some();

    assert!(open("/mnt/apps/vault") && open("/mnt/apps/vault/home"));
    // Beside it, inside of it, or what only an administrator mounts.
    for source in
        ["/mnt/apps/vault2", "/mnt/apps/vault/other", "/mnt/apps/vault/home/data", "/mnt/apps", "/mnt", "/"]
    {
        assert!(!open(source), "{source}");
    }
    assert!(facts("/mnt/apps/vault", "homelab").open_to(&format!("{APPS}/vault/home")).is_none());
}
