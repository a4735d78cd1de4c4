//! Every app of the catalog, read and judged as an install would be.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use claw_docker::policy::{
    ContainerWish, Facts, Grants, MountWishSource, Own, PathFact, PathKind, Policy, Protocol,
};
use claw_homelab::{
    compose::{self, Labels, Project, Reader},
    marketplace::{App, Catalog, ComposerConfig},
};
use claw_testkit::TempDir;

use crate::market_lab::{Compose, Place, which};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../marketplace")
}

fn apps() -> Vec<App> {
    Catalog::from_folder(&folder()).expect("a catalog").list()
}

/// Values as an installer would choose them, none of which can be mistaken for something in a file.
fn values(app: &App) -> BTreeMap<String, String> {
    let value = |variable: &claw_homelab::marketplace::Variable| match &variable.default {
        Some(default) => default.clone(),
        None => "Value0123456789abcdefghij".to_owned(),
    };
    app.about.variables.iter().map(|variable| (variable.name.clone(), value(variable))).collect()
}

fn read(app: &App) -> Project {
    compose::parse(&app.compose, &values(app)).unwrap_or_else(|error| panic!("{}: {error}", app.about.id))
}

const APPS: &str = "/srv/apps";

/// What a machine knows on which nothing was installed yet.
pub(crate) fn facts(wishes: &[ContainerWish]) -> Facts {
    let own =
        Own { folders: vec!["/srv/clawmachine".into()], apps_folder: Some(APPS.into()), ..Own::default() };
    let mut facts = Facts {
        own,
        engine_folder: Some("/var/lib/docker".into()),
        engine_socket: Some("/var/run/docker.sock".into()),
        ..Facts::default()
    };
    let fact = |real: &str, kind| PathFact { real: real.to_owned(), kind };
    facts.paths.insert(APPS.into(), fact(APPS, PathKind::Folder));
    for wish in wishes {
        for mount in &wish.mounts {
            match &mount.source {
                MountWishSource::Bind(source) if source.starts_with(APPS) => {
                    facts.paths.insert(source.clone(), fact(source, PathKind::Folder));
                }
                MountWishSource::Bind(source) => {
                    let kind = if source.ends_with(".sock") { PathKind::Socket } else { PathKind::File };
                    facts.paths.insert(source.clone(), fact(source, kind));
                }
                MountWishSource::Volume { name, .. } => {
                    facts.volumes.insert(name.clone(), None);
                }
                MountWishSource::Anonymous | MountWishSource::Tmpfs { .. } => {}
            }
        }
        for network in &wish.networks {
            facts.expect_network(network);
        }
    }
    facts
}

/// Judges a project as an install of the name `test` would be.
pub(crate) fn judge(project: &Project, grants: &Grants) -> Result<Project, String> {
    let folder = Path::new(APPS).join("app/test");
    let mut placed = project.placed("claw-app-test", &folder).map_err(|error| error.to_string())?;
    let wishes: Vec<_> = placed.services.values().map(|service| service.wish.clone()).collect();
    let mut facts = facts(&wishes);
    facts.expect_mounts_of(&wishes);
    for service in placed.services.values_mut() {
        let judged = Policy::default().judge(&service.wish, &facts, grants);
        service.wish = judged.map_err(|refused| refused.to_string())?.wish().clone();
    }
    Ok(placed)
}

#[test]
fn b1_b2_every_app_is_read_and_permitted_with_its_own_exceptions_and_no_others() {
    let apps = apps();
    assert!(!apps.is_empty());
    for app in apps {
        let (id, project) = (&app.about.id, read(&app));

        judge(&project, &app.grants).unwrap_or_else(|error| panic!("{id}: {error}"));

        let is_needed = *app.grants != Grants::default();
        assert_eq!(judge(&project, &Grants::default()).is_err(), is_needed, "{id}: exceptions nobody needs");
        assert!(!is_needed || app.grants.reason.is_some(), "{id}: why does it need exceptions?");
    }
}

#[test]
fn b17_every_image_is_pinned_and_nobody_gets_everything() {
    for app in apps() {
        let id = &app.about.id;
        for (name, service) in read(&app).services {
            let wish = service.wish;
            let last = wish.image.rsplit('/').next().unwrap_or_default();
            let tag = last.rsplit_once(':').map_or("", |(_, tag)| tag);
            let moving = ["", "latest", "main", "master", "edge", "nightly", "stable", "dev"];
            assert!(!moving.contains(&tag) || wish.image.contains("@sha256:"), "{id}/{name}: {}", wish.image);
            assert!(!wish.privileged && wish.name.is_none(), "{id}/{name}");
            assert_ne!(wish.restart, claw_docker::policy::RestartWish::Always, "{id}/{name}");
        }
    }
}

#[test]
fn b1_ports_variables_and_health_checks_are_consistent() {
    for app in apps() {
        let (id, about, project) = (&app.about.id, &app.about, read(&app));
        let wishes = || project.services.values().map(|service| &service.wish);
        let mut taken = BTreeSet::new();
        for port in wishes().flat_map(|wish| &wish.ports) {
            let host = port.host.expect("a published port");
            assert!(host > 0 && taken.insert((host, port.protocol)), "{id}: port {host} twice, or none");
        }
        let host_network = wishes().any(|wish| wish.network_mode.as_deref() == Some("host"));
        let found =
            [Protocol::Tcp, Protocol::Udp].iter().any(|&protocol| taken.contains(&(about.port, protocol)));
        assert!(found || host_network, "{id}: nothing is at port {}", about.port);

        let mut names = BTreeSet::new();
        for variable in &about.variables {
            let name = &variable.name;
            assert!(names.insert(name), "{id}: {name} twice");
            assert!(!variable.description.is_empty(), "{id}: what is {name} for?");
            let used = app.compose.contains(&format!("${{{name}}}"))
                || app.compose.contains(&format!("${{{name}:-"));
            assert!(used, "{id}: {name} is used nowhere");
            let ways = [variable.required, variable.default.is_some(), variable.generate.is_some()];
            assert!(ways.iter().filter(|way| **way).count() <= 1, "{id}: {name} has several origins");
        }
        assert!(
            !about.version.is_empty() && !about.name.is_empty() && about.description.ends_with('.'),
            "{id}"
        );
        assert!(about.website.starts_with("https://"), "{id}: {}", about.website);

        for (name, service) in &project.services {
            let checked = service.wish.healthcheck.is_some() || about.no_healthcheck.contains_key(name);
            assert!(checked, "{id}/{name}: no health check, and no reason in [no_healthcheck]");
        }
        for name in about.no_healthcheck.keys() {
            assert!(project.services.contains_key(name), "{id}: there is no service {name}");
        }
        // What depends on health needs a check, or the file never starts.
        for service in project.services.values() {
            for (on, condition) in &service.depends_on {
                let checked = project.services[on].wish.healthcheck.is_some();
                assert!(
                    *condition != compose::Condition::Healthy || checked,
                    "{id}: {on} has no health check"
                );
            }
        }
    }
}

#[test]
fn b17_no_app_has_a_password_that_everybody_knows() {
    for app in apps() {
        let id = &app.about.id;
        let secret = |name: &str| {
            let name = name.to_ascii_uppercase();
            let hidden = ["PASSWORD", "PASSWD", "_PASS", "SECRET", "TOKEN", "PRIVATE_KEY", "API_KEY"];
            // Names of files and switches about passwords are none.
            let about = ["RANDOM", "_FILE", "ENABLE", "ALLOW", "_MODE", "_TTL", "_URL", "DISABLE"];
            hidden.iter().any(|word| name.contains(word)) && !about.iter().any(|word| name.contains(word))
        };
        for variable in &app.about.variables {
            let harmless = variable.default.as_deref().is_none_or(str::is_empty);
            assert!(!secret(&variable.name) || harmless, "{id}: {} has a default", variable.name);
            assert!(!secret(&variable.name) || variable.is_secret(), "{id}: {} is no secret", variable.name);
        }
        // Whatever is a secret in the file comes from a variable.
        let marked: BTreeMap<String, String> =
            values(&app).keys().map(|name| (name.clone(), "FROMAVARIABLE".to_owned())).collect();
        let Ok(project) = compose::parse(&app.compose, &marked) else { continue };
        for (name, value) in project.services.values().flat_map(|service| &service.wish.environment) {
            assert!(
                !secret(name) || value.is_empty() || value.contains("FROMAVARIABLE"),
                "{id}: {name}={value}"
            );
        }
    }
}

#[test]
fn t34_every_logo_is_a_small_picture_that_runs_nothing_and_fetches_nothing() {
    for app in apps() {
        let id = &app.about.id;
        let logo = app.logo.as_ref().unwrap_or_else(|| panic!("{id} has no logo"));
        let text = std::str::from_utf8(logo).expect("text").to_ascii_lowercase();
        assert!(text.starts_with("<svg ") && text.len() <= 2048, "{id}");
        let plain = text.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "<script",
            "javascript",
            "href",
            "url(",
            "http",
            "<foreignobject",
            "<image",
            "<use",
            "<style",
            "<!",
            "data:",
            "&",
        ] {
            assert!(!plain.contains(word), "{id}: {word}");
        }
        assert!(
            !plain.split_ascii_whitespace().any(|word| word.starts_with("on") && word.contains('=')),
            "{id}"
        );
    }
}

#[test]
fn what_is_written_of_an_app_is_read_back_as_the_same() {
    for app in apps() {
        let project = read(&app);

        let text = compose::render(&project, &Labels::new(), Reader::Plugin);

        assert_eq!(
            compose::parse(&text, &BTreeMap::new()).expect("our own file"),
            project,
            "{}",
            app.about.id
        );
    }
}

#[test]
fn ids_are_the_names_of_their_folders_and_no_two_apps_are_the_same() {
    let apps = apps();
    let mut images = BTreeSet::new();
    for app in &apps {
        let summary = app.summary();
        assert!(images.insert(summary.image.clone()), "two apps of {}", summary.image);
        assert!(!summary.image.is_empty(), "{}", app.about.id);
    }
    let folders =
        std::fs::read_dir(folder()).expect("a folder").flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(folders.count(), apps.len());
}

#[test]
fn b1_compose_understands_what_we_write_of_every_app() {
    for (compose, reader) in [(Compose::Plugin, Reader::Plugin), (Compose::Standalone, Reader::Standalone)] {
        let file = compose::render(&all_apps(), &Labels::new(), reader);

        let (understood, said) = config(compose, &file);

        assert!(understood, "{compose:?}: {said}");
        // It is what decides: a file with one wrong word is refused.
        assert!(!config(compose, &file.replacen("image:", "imige:", 1)).0, "{compose:?}");
    }
}

/// All apps in one project: each start of Compose takes a third of a second.
fn all_apps() -> Project {
    let mut all = Project::default();
    for app in apps() {
        let approved = judge(&read(&app), &app.grants).expect("an approved app");
        let id = &app.about.id;
        for (name, mut service) in approved.services {
            service.depends_on = std::mem::take(&mut service.depends_on)
                .into_iter()
                .map(|(on, condition)| (format!("{id}-{on}"), condition))
                .collect();
            all.services.insert(format!("{id}-{name}"), service);
        }
        all.volumes.extend(approved.volumes);
        all.networks.extend(approved.networks);
    }
    all
}

/// What the real Compose thinks of a file.
#[expect(clippy::disallowed_methods, reason = "asks the real Compose what it thinks of our files")]
fn config(compose: Compose, file: &str) -> (bool, String) {
    let folder = TempDir::new();
    let place = Place { compose, ..Place::at(folder.path()) };
    let ComposerConfig { path, home, .. } = place.composer_config();
    let path = path.to_str().expect("plain").to_owned();
    let mut command = match compose {
        Compose::Plugin => Command::new(which("docker")),
        Compose::Standalone => Command::new(which("docker-compose")),
    };
    if compose == Compose::Plugin {
        command.arg("compose");
    }
    let file = folder.write("compose.yaml", file);
    command.arg("--file").arg(file).args(["config", "--quiet"]);
    let output = command.env_clear().env("PATH", path).env("HOME", home).output().expect("it starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
