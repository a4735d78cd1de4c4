//! The life of an app on the real Engine.

use std::collections::BTreeMap;

use claw_core::{Coded as _, ErrorCode, Scope};
use claw_homelab::marketplace::{InstallState, NewInstall, Which};

use crate::market_lab::{Lab, actor, ann, ask, fetch, write_page};

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
    let mut lab = Lab::new().await;
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
