//! The life of an app on the real Engine.

use std::collections::BTreeMap;

use claw_core::{Coded as _, ErrorCode, Scope};
use claw_homelab::marketplace::{InstallState, NewInstall, Which};

use crate::market_lab::{Compose, Lab, actor, ann, ask, fetch, write_page};

fn page(name: &str) -> NewInstall {
    NewInstall {
        app_id: "page".into(),
        custom_name: Some(name.to_owned()),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello $HOME".to_owned())]),
        ..NewInstall::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_b9_an_app_is_installed_started_stopped_and_uninstalled() {
    a_life(Compose::Standalone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_b9_so_it_is_with_compose_as_a_plugin() {
    a_life(Compose::Plugin).await;
}

async fn a_life(compose: Compose) {
    let mut lab = Lab::composed_by(compose).await;
    let name = lab.install("life");
    let market = lab.marketplace.clone();

    let new = NewInstall { container_name: Some(format!("{name}.web")), ..page(&name) };
    let created = market.create(&ann(), new).await.expect("an install");

    assert_eq!(
        (created.install_id.as_str(), created.container_name.as_str()),
        (name.as_str(), &*format!("{name}.web"))
    );
    assert_eq!(created.generated.len(), 1);
    let password = created.generated[0].1.expose().to_owned();
    assert!(!created.compose.contains(&password) && created.compose.contains("${PAGE_PASSWORD}"));
    assert_eq!(market.status(&ann(), &Which::named(&name)).await.expect("it").state, InstallState::Created);
    let folder = lab.app_folder(&name);
    assert_eq!(created.install_dir, folder.display().to_string());
    // B3: the folder that people are told of is the one that the container sees.
    std::fs::write(folder.join("page/index.html"), "A page. ").expect("a page");

    let which = Which { compose_path: Some(created.compose_path.clone()), ..Which::default() };
    let started = market.start(&ann(), &which).await.expect("a start");

    assert!(started.done);
    assert_eq!(started.installed.state, InstallState::Running, "{:?}", started.installed);
    let port = created.ports[0].host;
    assert_eq!(fetch(port).await, "A page. hello $HOME");
    let log = market.logs(&ann(), &Which::named(&name), None, Some(10)).await.expect("a log");
    assert!(log.contains("listening"), "{log}");

    let restarted = market.restart(&ann(), &Which::named(&name)).await.expect("a restart");
    assert_eq!(restarted.installed.state, InstallState::Running);
    assert_eq!(fetch(port).await, "A page. hello $HOME");

    let stopped = market.stop(&ann(), &Which::named(&name)).await.expect("a stop");
    assert_eq!(stopped.installed.state, InstallState::Stopped, "{:?}", stopped.installed);
    assert!(ask(port).await.is_err());

    let gone = market.uninstall(&ann(), &Which::named(&name), false).await.expect("it is gone");
    assert_eq!(gone.data_kept_in, Some(created.install_dir.clone()));
    assert_eq!(gone.volumes_kept, [format!("claw-app-{name}_data")]);
    assert!(folder.join("page/index.html").exists() && !folder.join("compose.yaml").exists());
    let missing = market.status(&ann(), &Which::named(&name)).await.expect_err("it is gone");
    assert_eq!(missing.code(), ErrorCode::ComposeNotFound);

    // The data of before needs the password of before.
    let again = market.create(&ann(), page(&name)).await.expect("an install");
    assert!(again.generated.is_empty());
    assert!(std::fs::read_to_string(folder.join(".env")).expect("values").contains(&password));
    market.start(&ann(), &Which::named(&name)).await.expect("a start");
    assert_eq!(fetch(again.ports[0].host).await, "A page. hello $HOME");
    market.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_who_may_only_look_changes_nothing_and_who_may_only_change_sees_nothing() {
    let lab = Lab::new().await;
    let market = &lab.marketplace;
    let (reader, writer) = (actor(&[Scope::MarketplaceRead]), actor(&[Scope::MarketplaceWrite]));
    let which = Which::named("x");

    let codes = [
        market.create(&reader, page("x")).await.map(drop).expect_err("a reader").code(),
        market.start(&reader, &which).await.map(drop).expect_err("a reader").code(),
        market.stop(&reader, &which).await.map(drop).expect_err("a reader").code(),
        market.restart(&reader, &which).await.map(drop).expect_err("a reader").code(),
        market.update(&reader, &which, BTreeMap::new(), true).await.map(drop).expect_err("a reader").code(),
        market.uninstall(&reader, &which, true).await.map(drop).expect_err("a reader").code(),
        market.catalog(&writer).map(drop).expect_err("a writer").code(),
        market.app(&writer, "page").await.map(drop).expect_err("a writer").code(),
        market.installed(&writer).await.map(drop).expect_err("a writer").code(),
        market.status(&writer, &which).await.map(drop).expect_err("a writer").code(),
        market.logs(&writer, &which, None, None).await.map(drop).expect_err("a writer").code(),
    ];

    assert_eq!(codes, [ErrorCode::ScopeRequired; 11]);
    assert!(market.installed(&reader).await.expect("a list").is_empty());
}

#[tokio::test]
async fn b9_what_an_app_needs_is_asked_for_and_what_is_odd_is_refused_with_nothing_left_behind() {
    let mut lab = Lab::new().await;
    let name = lab.install("asked");
    let with = |change: &dyn Fn(&mut NewInstall)| {
        let mut new = page(&name);
        change(&mut new);
        new
    };
    let cases: [(NewInstall, ErrorCode, &str); 11] = [
        (with(&|new| new.environment.clear()), ErrorCode::VariablesRequired, "`GREETING` (What it says)"),
        (with(&|new| new.app_id.clear()), ErrorCode::AppIdRequired, "app_id"),
        (with(&|new| new.app_id = "../page".into()), ErrorCode::InvalidAppId, "lower-case"),
        (with(&|new| new.app_id = "nothing".into()), ErrorCode::AppNotFound, "`nothing`"),
        (with(&|new| new.custom_name = Some("../x".into())), ErrorCode::InvalidCustomName, "custom_name"),
        (
            with(&|new| new.container_name = Some("-v".into())),
            ErrorCode::InvalidContainerName,
            "container_name",
        ),
        (
            with(&|new| new.container_name = Some("WAGMIOS-backend".into())),
            ErrorCode::Protected,
            "(name.protected)",
        ),
        (with(&|new| drop(new.environment.insert("A B".into(), "1".into()))), ErrorCode::InvalidEnv, "`A B`"),
        (with(&|new| drop(new.environment.insert("A".into(), "1\n2".into()))), ErrorCode::InvalidEnv, "`A`"),
        (with(&|new| new.ports = BTreeMap::from([(81, 8081)])), ErrorCode::InvalidPort, "has no port 81"),
        (with(&|new| new.ports = BTreeMap::from([(8080, 22)])), ErrorCode::PolicyRefused, "(ports."),
    ];
    for (new, code, because) in cases {
        let error = lab.marketplace.create(&ann(), new).await.expect_err(because);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(because), "{error}");
    }

    assert!(lab.marketplace.installed(&ann()).await.expect("a list").is_empty());
    assert!(!lab.app_folder(&name).exists());
}

#[tokio::test]
async fn a3_a_path_leads_to_an_install_and_nowhere_else() {
    let mut lab = Lab::new().await;
    let name = lab.install("path");
    lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    let elsewhere = lab.folder.write("elsewhere/compose.yaml", "services: {a: {image: x, privileged: true}}");
    let template = lab.folder.write("data/containers/page/evil.json", "{\"services\":{}}");
    let folder = lab.app_folder(&name);
    let root = lab.folder.join("data/containers").display().to_string();
    for (path, code) in [
        (elsewhere.display().to_string(), ErrorCode::PathForbidden),
        ("/etc/passwd".to_owned(), ErrorCode::PathForbidden),
        ("../../../../etc/passwd".to_owned(), ErrorCode::PathForbidden),
        (format!("page/{name}/../../../elsewhere/compose.yaml"), ErrorCode::PathForbidden),
        (format!("{root}/../../elsewhere/compose.yaml"), ErrorCode::PathForbidden),
        (format!("{root}x/page/{name}/compose.yaml"), ErrorCode::PathForbidden),
        (template.display().to_string(), ErrorCode::InvalidComposeFile),
        (folder.join(".env").display().to_string(), ErrorCode::InvalidComposeFile),
        (folder.display().to_string(), ErrorCode::InvalidComposeFile),
        (format!("other/{name}/compose.yaml"), ErrorCode::ComposeNotFound),
        ("page/other/compose.yaml".to_owned(), ErrorCode::ComposeNotFound),
        ("page/%2e%2e/compose.yaml".to_owned(), ErrorCode::ComposeNotFound),
    ] {
        let which = Which { compose_path: Some(path.clone()), ..Which::default() };
        let error = lab.marketplace.start(&ann(), &which).await.expect_err(&path);
        assert_eq!(error.code(), code, "{path}: {error}");
    }

    // The file itself may not be a way out either.
    std::fs::remove_file(folder.join("compose.yaml")).expect("a file");
    std::os::unix::fs::symlink(&elsewhere, folder.join("compose.yaml")).expect("a link");
    let error = lab.marketplace.start(&ann(), &Which::named(&name)).await.expect_err("a link");
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_an_edited_file_is_judged_anew_and_a_broken_one_still_stops() {
    let mut lab = Lab::new().await;
    let name = lab.install("edited");
    let market = lab.marketplace.clone();
    let created = market.create(&ann(), page(&name)).await.expect("an install");
    market.start(&ann(), &Which::named(&name)).await.expect("a start");
    let file = lab.app_folder(&name).join("compose.yaml");
    let written = std::fs::read_to_string(&file).expect("our file");

    for (edit, code, because) in [
        ("    privileged: true\n", ErrorCode::PolicyRefused, "(powers.privileged)"),
        ("    pid: host\n", ErrorCode::PolicyRefused, "(namespaces."),
        ("    env_file: /etc/shadow\n", ErrorCode::InvalidComposeFile, "`env_file` is not taken"),
        ("    hostname: ${PATH}\n", ErrorCode::InvalidComposeFile, "`PATH` is not given"),
        ("    nonsense: [\n", ErrorCode::InvalidComposeFile, "not YAML"),
    ] {
        std::fs::write(&file, written.replacen("    image:", &format!("{edit}    image:"), 1))
            .expect("an edit");
        let error = market.restart(&ann(), &Which::named(&name)).await.expect_err(because);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(because), "{error}");
    }
    let seen = market.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Running);
    assert!(seen.failure.is_some_and(|failure| failure.contains("not YAML")));

    // A broken edit keeps nobody from stopping.
    let stopped = market.stop(&ann(), &Which::named(&name)).await.expect("a stop");
    assert_eq!(stopped.installed.state, InstallState::Stopped);

    // An edit that is permitted holds from the next start on.
    std::fs::write(&file, written.replace("\"${GREETING}\"", "\"edited\"")).expect("an edit");
    market.start(&ann(), &Which::named(&name)).await.expect("a start");
    assert_eq!(fetch(created.ports[0].host).await, "edited");
    market.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_an_update_changes_the_version_and_keeps_data_values_and_ports() {
    let mut lab = Lab::new().await;
    let name = lab.install("update");
    let created = lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    let port = created.ports[0].host;
    let folder = lab.app_folder(&name);
    std::fs::write(folder.join("page/index.html"), "kept ").expect("a page");
    lab.marketplace.start(&ann(), &Which::named(&name)).await.expect("a start");
    let same = lab
        .marketplace
        .update(&ann(), &Which::named(&name), BTreeMap::new(), false)
        .await
        .expect("an update");
    assert!(!same.changed);

    write_page(&lab.catalog, "2", crate::market_lab::free_port());
    let (kept, scope) = lab.end().await;
    let lab = Lab::with(kept, scope, None).await;
    let market = lab.marketplace.clone();
    assert_eq!(market.installed(&ann()).await.expect("a list")[0].update.as_deref(), Some("2"));
    let values = std::fs::read_to_string(folder.join(".env")).expect("values");
    let edited = std::fs::read_to_string(folder.join("compose.yaml")).expect("a file") + "# mine\n";
    std::fs::write(folder.join("compose.yaml"), &edited).expect("an edit");

    let refused =
        market.update(&ann(), &Which::named(&name), BTreeMap::new(), false).await.expect_err("edited");
    assert_eq!(refused.code(), ErrorCode::Conflict);
    let update = market.update(&ann(), &Which::named(&name), BTreeMap::new(), true).await.expect("an update");

    assert_eq!((update.changed, update.from.as_str(), update.to.as_str()), (true, "1", "2"));
    assert_eq!(update.progress.installed.state, InstallState::Running);
    assert_eq!(fetch(port).await, "kept hello $HOME");
    let compose = std::fs::read_to_string(folder.join("compose.yaml")).expect("a file");
    assert!(
        compose.contains("\"VERSION\": \"2\"") && compose.contains(&format!("{port}:8080/tcp")),
        "{compose}"
    );
    assert_eq!(std::fs::read_to_string(folder.join("compose.yaml.before-update")).expect("a copy"), edited);
    assert_eq!(std::fs::read_to_string(folder.join(".env")).expect("values"), values);
    market.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_work_goes_on_when_the_caller_hangs_up_and_the_same_asked_twice_is_done_once() {
    let mut lab = Lab::new().await;
    let name = lab.install("hangup");
    let market = lab.marketplace.clone();
    let created = market.create(&ann(), page(&name)).await.expect("an install");

    let (caller, which) = (ann(), Which::named(&name));
    let mut start = Box::pin(market.start(&caller, &which));
    let begun = tokio::select! {
        _ = &mut start => panic!("containers do not start at once"),
        begun = wait_for_work(&lab, &name) => begun,
    };
    drop(start);

    assert_eq!(begun, "started");
    let busy = market.stop(&ann(), &which).await.expect_err("it is being started");
    assert_eq!(busy.code(), ErrorCode::Conflict);
    let joined = market.start(&ann(), &which).await.expect("a start");
    assert_eq!(joined.installed.state, InstallState::Running);
    assert_eq!(fetch(created.ports[0].host).await, "hello $HOME");
    market.uninstall(&ann(), &which, true).await.expect("it is gone");
}

async fn wait_for_work(lab: &Lab, name: &str) -> &'static str {
    loop {
        let seen = lab.marketplace.status(&ann(), &Which::named(name)).await.expect("it");
        if let Some(doing) = seen.doing {
            return doing;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_b9_names_and_ports_of_others_are_left_alone() {
    let mut lab = Lab::new().await;
    let (one, other) = (lab.install("one"), lab.install("other"));
    let market = lab.marketplace.clone();
    let first = market.create(&ann(), page(&one)).await.expect("an install");

    // The catalog's port is spoken for, so the second install gets another one, and is told.
    let second = market.create(&ann(), page(&other)).await.expect("an install");
    assert_ne!(second.ports[0].host, first.ports[0].host);
    assert_eq!(second.ports[0].instead_of, Some(first.ports[0].host));
    assert!(second.notes.iter().any(|note| note.contains("is taken")), "{:?}", second.notes);

    // A name that a container has is nobody else's.
    let taken = NewInstall { container_name: Some(one.clone()), ..page(&other) };
    let error = market.create(&ann(), taken).await.expect_err("taken");
    assert_eq!(error.code(), ErrorCode::NameTaken, "{error}");
    // What was there before the refusal is there after it.
    assert_eq!(market.status(&ann(), &Which::named(&other)).await.expect("it").container_name, other);

    // One that was started is not made anew.
    market.start(&ann(), &Which::named(&one)).await.expect("a start");
    let error = market.create(&ann(), page(&one)).await.expect_err("taken");
    assert_eq!(error.code(), ErrorCode::NameTaken, "{error}");
    // A stranger with the project's name is not it.
    assert_eq!(market.status(&ann(), &Which::named(&other)).await.expect("it").state, InstallState::Created);
    market.uninstall(&ann(), &Which::named(&one), true).await.expect("it is gone");
    market.uninstall(&ann(), &Which::named(&other), true).await.expect("it is gone");
}
