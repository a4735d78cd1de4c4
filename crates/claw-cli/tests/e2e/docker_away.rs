//! An Engine that stops before, during and after a job: the server reaches it through a socket that can be cut.

use std::{path::PathBuf, time::Duration};

use claw_testkit::{TempDir, wait_until};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::setting::Setting;

const ENGINE: &str = "/var/run/docker.sock";

/// The Engine under another address, until it is cut.
struct Wire {
    socket: PathBuf,
    cut: CancellationToken,
    calls: TaskTracker,
}

impl Wire {
    fn at(socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).expect("bound");
        let (cut, calls) = (CancellationToken::new(), TaskTracker::new());
        let (stop, tracker) = (cut.clone(), calls.clone());
        calls.spawn(async move {
            while let Some(Ok((mut near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let stop = stop.clone();
                tracker.spawn(async move {
                    let mut far = UnixStream::connect(ENGINE).await.expect("an Engine");
                    // Whether a side hung up or the wire was cut, the call is over.
                    let _ = stop.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
                });
            }
        });
        calls.close();
        Self { socket, cut, calls }
    }

    async fn cut(self) -> PathBuf {
        self.cut.cancel();
        self.calls.wait().await;
        std::fs::remove_file(&self.socket).expect("removed");
        self.socket
    }
}

#[tokio::test]
async fn jobs_outlive_an_engine_that_stops_before_during_and_after_them() {
    let folder = TempDir::new();
    let socket = folder.path().join("docker.sock");
    let host = format!("unix://{}", socket.display());
    let settings = [("DOCKER_HOST", host.as_str()), ("CLAW_RETRY_BASE_DELAY_SECS", "1")];
    let setting = Setting::docker_with(&settings).await;
    let script = |hold: &str| json!([{"hold": hold}, {"text": "done"}]);

    // Before: it waits.
    let before = setting.submit(script("before"), &[]).await;
    assert_eq!(setting.job(&before).await["status"], "pending");
    setting.model.release("before");
    let wire = Wire::at(socket);
    assert_eq!(setting.ended(&before).await["status"], "completed");

    // During: its run is lost, and another one ends well once the Engine is back.
    let during = setting.submit(script("during"), &[]).await;
    setting.model.wait_for_hold("during").await;
    let socket = wire.cut().await;
    setting.wait_for(&during, &["pending"]).await;
    assert_eq!(setting.docker.containers().len(), 1, "nobody could remove it");
    setting.model.release("during");
    let wire = Wire::at(socket);
    let job = setting.ended(&during).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("completed"), &json!(1)), "{job:#}");
    setting.assert_nothing_left().await;

    // After: what it left is removed when the Engine is back.
    let after = setting.submit(script("after"), &["--timeout", "600"]).await;
    setting.model.wait_for_hold("after").await;
    let socket = wire.cut().await;
    setting.server.claw_ok(&["cancel", &after]).await;
    setting.ended(&after).await;
    let _wire = Wire::at(socket);
    wait_until("nothing is left of it", Duration::from_secs(60), async || {
        setting.docker.containers().is_empty()
    })
    .await;
}
