//! Apps whose images lead elsewhere between the verdict and the start.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use claw_core::Coded as _;
use claw_homelab::marketplace::{NewInstall, Which};
use claw_testkit::{DockerScope, TempDir};

use crate::market_lab::{Compose, Lab, Place, ann, free_port, which, write_page};

const IMAGE: &str = "debian:bookworm-slim";

/// Images of a test, gone in the end: after the containers made of them, so declared before their house.
struct Images(Vec<String>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            drop(command(&["rmi", "--force", image]));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for everybody else who uses the Engine")]
fn command(arguments: &[&str]) -> std::process::Output {
    Command::new("docker").args(arguments).output().expect("these tests need Docker's command line")
}

fn docker(arguments: &[&str]) -> String {
    let ran = command(arguments);
    assert!(ran.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// Makes an image like the usual one, but for one line of a Dockerfile.
fn image_with(scope: &DockerScope, name: &str, change: &str) -> String {
    let container = format!("claw-test-{}-{name}", scope.id());
    docker(&["create", "--name", &container, IMAGE]);
    let image = format!("claw-test-{}:{name}", scope.id());
    let made = command(&["commit", "--change", change, &container, &image]);
    docker(&["rm", &container]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    image
}

/// A house whose Compose finds another image behind the app's name whenever it makes containers: `others` in turn.
async fn house(others: impl Fn(&DockerScope) -> Vec<String>) -> (Images, Lab, String) {
    let (folder, scope) = (TempDir::shared(), DockerScope::new());
    let name = format!("claw-test-{}:app", scope.id());
    docker(&["tag", IMAGE, &name]);
    let others = others(&scope);
    let list = folder.write("others", others.join("\n"));
    let tag = format!(
        "#!/bin/bash\ncase \" $* \" in *\" --no-start \"*)\n  next=$(/usr/bin/head -n 1 {0})\n  if [ -n \"$next\" ]; then\n    \
         /usr/bin/sed -i 1d {0}; {2} tag \"$next\" {1}\n  fi;;\nesac\nexec {3} \"$@\"\n",
        list.display(),
        name,
        which("docker").display(),
        which("docker-compose").display(),
    );
    let program = folder.write("programs/docker-compose", tag);
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("own file");
    let mut place = Place::at(folder.path());
    place.compose = Compose::Standalone;
    place.programs = Some(folder.join("programs"));
    write_page(&place.catalog(), "1", free_port());
    let file = place.catalog().join("page/compose.yaml");
    let text = std::fs::read_to_string(&file).expect("readable").replace(IMAGE, &name);
    std::fs::write(file, text).expect("written");
    let lab = Lab::of(folder, scope, place).await;
    let images = Images([vec![name.clone()], others].concat());
    (images, lab, name)
}

async fn installed(lab: &mut Lab) -> String {
    let install = lab.install("moved");
    let new = NewInstall {
        app_id: "page".into(),
        custom_name: Some(install.clone()),
        environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        ..NewInstall::default()
    };
    lab.marketplace.create(&ann(), new).await.expect("installed");
    install
}

#[tokio::test]
async fn t10_t21_an_app_whose_image_moves_starts_from_the_one_that_was_judged_or_not_at_all() {
    let plain = |scope: &DockerScope| vec![image_with(scope, "other", "LABEL a=b")];
    let (_images, mut lab, name) = house(plain).await;
    let install = installed(&mut lab).await;

    lab.marketplace.start(&ann(), &Which::named(&install)).await.expect("started");

    // Made anew of what the name leads to now, which was judged too; and it is called by its name.
    let shown = docker(&["inspect", "--format", "{{.Image}} {{.Config.Image}} {{.State.Status}}", &install]);
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    assert_eq!(shown, format!("{id} {name} running"));
    assert_ne!(id, docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]));
}

#[tokio::test]
async fn t10_an_app_is_not_started_from_an_image_that_nobody_may_run() {
    let evil = |scope: &DockerScope| vec![image_with(scope, "evil", "LABEL claw.instance=x")];
    let (_images, mut lab, _name) = house(evil).await;
    let install = installed(&mut lab).await;

    let error = lab.marketplace.start(&ann(), &Which::named(&install)).await.expect_err("refused");

    assert!(error.to_string().contains("(image.labels)"), "{error}");
    assert_eq!(error.code().as_str(), "POLICY_REFUSED");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={install}")]), "");
}

#[tokio::test]
async fn t10_t21_an_app_whose_image_never_rests_is_not_started() {
    let restless = |scope: &DockerScope| {
        (0..6).map(|number| image_with(scope, &format!("n{number}"), &format!("LABEL n={number}"))).collect()
    };
    let (_images, mut lab, _name) = house(restless).await;
    let install = installed(&mut lab).await;

    let error = lab.marketplace.start(&ann(), &Which::named(&install)).await.expect_err("refused");

    assert_eq!(error.code().as_str(), "CONFLICT", "{error}");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={install}")]), "");
}
