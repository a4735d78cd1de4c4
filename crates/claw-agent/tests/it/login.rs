//! The Claude login: renewed in time, by one at a time, and kept well.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use claw_agent::gateway::{CredentialSource, Gateway, LoginStatus};
use claw_core::{Clock, SystemClock};
use claw_testkit::{FakeApi, TempDir, wait_until};
use futures_util::future::join_all;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::{
    gateway::{Setup, error, message},
    lab::{PATIENCE, entries, gateway_with},
};

/// A login file, and an API that knows its tokens.
struct Login {
    folder: TempDir,
    path: PathBuf,
    api: FakeApi,
}

impl Login {
    /// The login in the file has so many seconds left.
    async fn with_seconds_left(seconds: i64) -> Self {
        let api = FakeApi::builder().login("access-0", "refresh-0").start().await;
        let folder = TempDir::new();
        let path = folder.join(".credentials.json");
        let login = Self { folder, path, api };
        login.write("access-0", "refresh-0", seconds);
        login
    }

    fn write(&self, access: &str, refresh: &str, seconds: i64) {
        let expires_at = SystemClock.now().as_millisecond() + seconds * 1000;
        let login = json!({
            "mcpOAuth": {"kept": true},
            "claudeAiOauth": {"accessToken": access, "refreshToken": refresh, "expiresAt": expires_at,
                "scopes": ["user:inference"], "subscriptionType": "max"},
        });
        std::fs::write(&self.path, login.to_string()).unwrap();
    }

    fn gateway(&self) -> Gateway {
        self.gateway_of(&self.path)
    }

    fn gateway_of(&self, path: &Path) -> Gateway {
        gateway_with(self.api.base_url(), CredentialSource::LoginFile(path.to_owned()), |config| {
            config.token_endpoint = self.api.token_endpoint().parse().unwrap();
        })
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.path).unwrap()).unwrap()
    }

    /// Waits until a renewal has begun, which locks the folder.
    async fn is_being_renewed(&self) {
        let folder = std::fs::File::open(self.folder.path()).unwrap();
        wait_until("the login is being renewed", PATIENCE, async || {
            let free = flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok();
            if free {
                flock(&folder, FlockOperation::Unlock).unwrap();
            }
            !free
        })
        .await;
    }

    fn access(&self) -> String {
        self.read()["claudeAiOauth"]["accessToken"].as_str().unwrap().to_owned()
    }
}

async fn ask(gateway: &Gateway) -> reqwest::Response {
    let setup = Setup::new(gateway).await;
    setup.post(&message("hi", false)).await
}

#[tokio::test]
async fn r21_twenty_requests_at_once_renew_a_login_once() {
    let login = Login::with_seconds_left(-5).await;
    // Two servers that share the file.
    let gateways = [login.gateway(), login.gateway()];

    let answers = join_all((0..20).map(|number| ask(&gateways[number % 2]))).await;

    assert!(answers.iter().all(|answer| answer.status().is_success()));
    assert_eq!(login.api.renewals(), (1, 0));
}

#[tokio::test]
async fn r21_a_renewal_by_another_process_is_waited_for_and_taken() {
    let login = Login::with_seconds_left(-5).await;
    let gateway = login.gateway();
    // As the Claude CLI does it.
    let lock = login.folder.join(".oauth_refresh.lock");
    std::fs::create_dir(&lock).unwrap();

    let elsewhere = async {
        login.is_being_renewed().await;
        login.api.replace_login("by-the-cli", "refresh-cli");
        login.write("by-the-cli", "refresh-cli", 9_000);
        std::fs::remove_dir(&lock).unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&gateway), elsewhere);

    assert!(answer.status().is_success());
    assert_eq!((login.api.renewals(), login.access().as_str()), ((0, 0), "by-the-cli"));
}

#[tokio::test]
async fn r21_the_lock_of_a_process_that_died_does_not_hold_for_ever() {
    let login = Login::with_seconds_left(-5).await;
    let lock = login.folder.join(".oauth_refresh.lock");
    std::fs::create_dir(&lock).unwrap();
    let long_ago = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    std::fs::File::open(&lock).unwrap().set_times(long_ago).unwrap();

    let answer = ask(&login.gateway()).await;

    assert!(answer.status().is_success());
    assert_eq!(entries(login.folder.path()), [".credentials.json"]);
}

#[tokio::test]
async fn a_login_is_renewed_before_it_runs_out_and_all_else_in_its_file_stays() {
    let login = Login::with_seconds_left(1_800).await;
    let gateway = login.gateway();
    let before = gateway.login().await;
    let old = login.read();

    let answer = ask(&gateway).await;
    gateway.settled().await;

    let (new, after) = (login.read(), gateway.login().await);
    assert!(answer.status().is_success());
    assert_eq!(login.api.renewals(), (1, 0));
    assert_eq!((before.status, after.status), (LoginStatus::Expiring, LoginStatus::Valid));
    assert!(
        after.refreshed_at.is_some() && after.refresh_token_first_seen.is_some() && after.error.is_none()
    );
    assert!(after.expires_at > before.expires_at);
    assert_eq!(new["claudeAiOauth"]["accessToken"], "fake-access-1");
    assert_eq!(new["claudeAiOauth"]["refreshToken"], "fake-refresh-1");
    assert_eq!(new["claudeAiOauth"]["scopes"], old["claudeAiOauth"]["scopes"]);
    assert_eq!(new["mcpOAuth"], old["mcpOAuth"]);
    assert_eq!(login.path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(entries(login.folder.path()), [".credentials.json"], "no lock and no draft is left");
}

#[tokio::test]
async fn a_login_that_is_refused_is_renewed_and_the_request_tried_again_once() {
    let login = Login::with_seconds_left(9_000).await;
    let gateway = login.gateway();
    login.api.replace_login("unknown-here", "refresh-0");

    let renewed = ask(&gateway).await;
    login.api.replace_login("unknown-again", "refresh-x");
    let refused = ask(&gateway).await;

    assert!(renewed.status().is_success());
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert_eq!(error(refused).await.0, 401);
    assert_eq!(login.api.renewals(), (1, 0), "a fresh login that is refused is not renewed again");
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_login_while_it_lasts_and_is_not_repeated_at_once() {
    let login = Login::with_seconds_left(1_800).await;
    let gateway = login.gateway();
    login.api.fail_renewals(400, 99);

    let answers = join_all((0..5).map(|_| ask(&gateway))).await;
    gateway.settled().await;
    let state = gateway.login().await;

    assert!(answers.iter().all(|answer| answer.status().is_success()));
    assert_eq!(login.api.renewals(), (0, 1));
    assert_eq!((state.status, login.access().as_str()), (LoginStatus::RefreshFailed, "access-0"));
    assert!(state.error.unwrap().contains("log in again"));
}

#[tokio::test]
async fn a_new_login_counts_at_once_after_a_failed_renewal() {
    let login = Login::with_seconds_left(-5).await;
    let gateway = login.gateway();
    login.api.fail_renewals(400, 1);

    let refused = ask(&gateway).await;
    login.api.replace_login("access-new", "refresh-new");
    login.write("access-new", "refresh-new", 1_800);
    let fine = ask(&gateway).await;
    gateway.settled().await;

    assert_eq!(error(refused).await.0, 401);
    assert!(fine.status().is_success());
    assert_eq!(login.api.renewals(), (1, 1));
}

#[tokio::test]
async fn what_the_agent_is_told_about_a_login_names_no_file() {
    let login = Login::with_seconds_left(-5).await;
    let gateway = login.gateway();
    login.api.fail_renewals(400, 9);

    let (_, _, expired) = error(ask(&gateway).await).await;
    std::fs::write(&login.path, "{").unwrap();
    let (_, _, broken) = error(ask(&gateway).await).await;

    let folder = login.folder.path().display().to_string();
    for text in [&expired, &broken] {
        assert!(text.contains("log in again with `claude`") && !text.contains(&folder), "{text}");
    }
    assert!(gateway.login().await.error.unwrap().contains(&folder), "administrators see it");
}

#[tokio::test]
async fn a_login_behind_a_link_is_replaced_where_it_lies() {
    let login = Login::with_seconds_left(-5).await;
    let elsewhere = TempDir::new();
    let link = elsewhere.join("link.json");
    symlink(&login.path, &link).unwrap();

    let answer = ask(&login.gateway_of(&link)).await;

    assert!(answer.status().is_success());
    assert_eq!(login.access(), "fake-access-1");
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(entries(elsewhere.path()), ["link.json"]);
}

#[tokio::test]
async fn a_login_that_cannot_be_kept_is_not_renewed() {
    let login = Login::with_seconds_left(1_800).await;
    let gateway = login.gateway();
    // Of another user: whoever may read it need not be the one who may replace it.
    std::os::unix::fs::chown(&login.path, Some(12_345), None).unwrap();

    let answer = ask(&gateway).await;
    gateway.settled().await;

    assert!(answer.status().is_success());
    assert_eq!(login.api.renewals(), (0, 0));
    assert_eq!(login.path.metadata().unwrap().uid(), 12_345);
    assert!(gateway.login().await.error.unwrap().contains("not a plain file of the server's user"));
}

#[tokio::test]
async fn a_renewal_goes_on_when_nobody_waits_for_it_any_more() {
    let login = Login::with_seconds_left(-5).await;
    let gateway = login.gateway();
    let setup = Setup::new(&gateway).await;
    // Holds the renewal up until its request is gone.
    let lock = login.folder.join(".oauth_refresh.lock");
    std::fs::create_dir(&lock).unwrap();

    let asked = message("hi", false);
    let mut waiting = Box::pin(setup.post(&asked));
    tokio::select! {
        _ = &mut waiting => panic!("it is held up"),
        () = login.is_being_renewed() => {}
    }
    drop(waiting);
    setup.session.close().await;
    std::fs::remove_dir(&lock).unwrap();

    wait_until("the login is renewed", PATIENCE, async || login.access() == "fake-access-1").await;
}

#[tokio::test]
async fn an_outage_of_the_place_that_renews_logins_is_tried_again_once() {
    let login = Login::with_seconds_left(1_800).await;
    let gateway = login.gateway();
    login.api.fail_renewals(503, 1);

    let answer = ask(&gateway).await;
    gateway.settled().await;

    assert!(answer.status().is_success());
    assert_eq!((login.api.renewals(), gateway.login().await.status), ((1, 1), LoginStatus::Valid));
}
