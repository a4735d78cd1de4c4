//! The program that runs Compose: what it is told, and what comes of it when it does not do as it should.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use claw_homelab::{
    compose::Reader,
    marketplace::{ComposeVerb, Composer, ComposerConfig, ComposerError},
};
use claw_testkit::{TempDir, wait_until};
use tokio_util::sync::CancellationToken;

use crate::market_lab::PATIENCE;

/// A composer whose program is this script.
fn scripted(folder: &TempDir, name: &str, script: &str) -> Composer {
    let program = folder.write(format!("bin/{name}"), format!("#!/bin/bash\n{script}"));
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("own file");
    Composer::new(ComposerConfig {
        path: format!("{}:/usr/bin:/bin", folder.join("bin").display()).into(),
        home: folder.join("home"),
        environment: vec![("DOCKER_HOST".to_owned(), "unix:///nowhere.sock".to_owned())],
        folder: folder.join("empty"),
    })
}

#[tokio::test]
async fn t9_t29_compose_gets_our_file_our_words_and_nothing_of_our_environment() {
    let folder = TempDir::new();
    let script = format!(
        "printf '%s\\n' \"$@\" >{0}/words; env | cut -d= -f1 | sort >{0}/names; pwd >{0}/place; cat >{0}/file; exit 0\n",
        folder.path().display()
    );
    let composer = scripted(&folder, "docker", &script);

    composer
        .run("claw-app-x", "services: {}\n", ComposeVerb::Up, &CancellationToken::new())
        .await
        .expect("a run");

    assert_eq!(composer.reader().await.expect("a program"), Reader::Plugin);
    let words = folder.read("words");
    assert!(words.starts_with("compose\n--project-name\nclaw-app-x\n--file\n-\n"), "{words}");
    assert!(
        words.ends_with("up\n--detach\n--no-build\n--no-recreate\n--remove-orphans\n--quiet-pull\n"),
        "{words}"
    );
    assert_eq!(folder.read("file"), "services: {}\n");
    // What bash makes for itself stands beside what it was given.
    let names = folder.read("names");
    assert_eq!(names.lines().collect::<Vec<_>>(), ["DOCKER_HOST", "HOME", "PATH", "PWD", "SHLVL", "_"]);
    assert_eq!(folder.read("place").trim(), folder.join("empty").display().to_string());
}

#[tokio::test]
async fn t32_what_compose_says_is_bounded_and_its_reason_is_told() {
    let folder = TempDir::new();
    let script = "[ \"$1\" = version ] && exit 0\nfor i in {1..20000}; do echo \"line $i\"; done\nprintf '\\033[31mthe \
                  reason\\033[0m\\n' >&2; exit 1\n";
    let composer = scripted(&folder, "docker-compose", script);

    let run = composer.run("claw-app-x", "", ComposeVerb::Stop, &CancellationToken::new()).await;

    let Err(ComposerError::Failed { output }) = run else { panic!("it failed: {run:?}") };
    assert!(output.contains("the reason") && output.len() < 1000 && !output.contains('\u{1b}'), "{output}");
}

#[tokio::test]
async fn what_compose_began_ends_with_it_when_the_server_stops() {
    let folder = TempDir::new();
    let script = format!(
        "[ \"$1\" = version ] && exit 0\ntrap '' TERM\nsleep 600 &\necho $! >{0}/child.new; mv {0}/child.new {0}/child\nwait\n",
        folder.path().display()
    );
    let composer = scripted(&folder, "docker-compose", &script);
    let stop = CancellationToken::new();
    let run = tokio::spawn({
        let (composer, stop) = (composer.clone(), stop.clone());
        async move { composer.run("claw-app-x", "", ComposeVerb::Up, &stop).await }
    });
    wait_until("the child is there", PATIENCE, async || folder.join("child").exists()).await;

    stop.cancel();

    let ended = run.await.expect("no panic");
    assert!(matches!(ended, Err(ComposerError::Stopped)), "{ended:?}");
    gone(folder.read("child").trim()).await;
}

#[tokio::test]
async fn without_any_compose_the_way_out_is_told() {
    let folder = TempDir::new();
    let composer = Composer::new(ComposerConfig {
        path: folder.join("nothing").into(),
        home: folder.join("home"),
        environment: Vec::new(),
        folder: folder.join("empty"),
    });

    let error = composer.name().await.expect_err("there is none");

    assert!(error.to_string().contains("install one of them"), "{error}");
}

#[tokio::test]
async fn t32_a_compose_that_hangs_is_ended_with_all_it_began() {
    let folder = TempDir::new();
    let script = format!(
        "[ \"$1\" = version ] && exit 0\ntrap '' TERM\necho pulling\nsleep 600 &\necho $! >{0}/child.new; mv {0}/child.new {0}/child\nwhile :; do wait; done\n",
        folder.path().display()
    );
    let composer = scripted(&folder, "docker-compose", &script);
    composer.name().await.expect("a program");
    let run = tokio::spawn(async move {
        composer.run("claw-app-x", "services: {}\n", ComposeVerb::Up, &CancellationToken::new()).await
    });
    wait_until("it is at work", PATIENCE, async || folder.join("child").exists()).await;

    // From here on half an hour passes as soon as nobody has anything to do.
    tokio::time::pause();
    let ended = run.await.expect("no panic");
    tokio::time::resume();

    let Err(ComposerError::Slow { limit, output }) = ended else { panic!("it hangs: {ended:?}") };
    assert_eq!((limit, output.as_str()), (Duration::from_secs(30 * 60), "pulling\n"));
    gone(folder.read("child").trim()).await;
}

#[tokio::test]
async fn a_compose_that_is_killed_is_a_failure_that_says_so() {
    let folder = TempDir::new();
    let script = "[ \"$1\" = version ] && exit 0\necho 'Creating web ...'\nkill -KILL $$\n";
    let composer = scripted(&folder, "docker-compose", script);

    let run = composer.run("claw-app-x", "", ComposeVerb::Up, &CancellationToken::new()).await;

    let Err(ComposerError::Failed { output }) = run else { panic!("it was killed: {run:?}") };
    assert_eq!(output, "Compose was killed (signal 9) after it said: Creating web ...");
}

/// Waits until a process has ended. A dead one may still wait for its parent to look.
async fn gone(id: &str) {
    let process = format!("/proc/{id}/stat");
    let gone = async || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    wait_until("the child is gone", PATIENCE, gone).await;
}
