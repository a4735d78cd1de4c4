//! Hosts that come back by themselves, and keys whose changes are noticed.
//!
//! Nobody polls a server that can signal: an event stream ends when its server stops or its key changes, so one that
//! stays open says that nothing happened. A slow timer stands in where the key permits no such stream.

use std::time::Duration;

use claw_core::{Coded as _, ErrorCode, Scope};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Host, Hosts};

/// Until the first look, so that it takes no time from the first requests, which look themselves.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Pause between looks where no event stream tells.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Shortest pause between looks, whatever the streams do.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between questions to a host that is down.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl Hosts {
    /// Watches all hosts until `stop` is cancelled: those that are down are asked again, and those that are up tell when
    /// their key changes. What is found shows in their standings and in [`Hosts::changes`].
    pub async fn watch(&self, stop: CancellationToken) {
        let watched = async {
            sleep(FIRST_LOOK).await;
            join_all(self.iter().map(|host| watch(host))).await;
        };
        stop.run_until_cancelled(watched).await;
    }
}

async fn watch(host: &Host) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if host.standing().is_up() {
            attend(host).await;
            pause = SHORTEST_PAUSE;
        }
        look(host).await;
        sleep(SHORTEST_PAUSE).await;
        if !host.standing().is_up() {
            // Whoever wants the host now does not wait for the rest of a long pause.
            let _elapsed = timeout(pause, host.wanted.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns when something may have changed.
async fn attend(host: &Host) {
    let stream = match host.standing().permits(Scope::JobsRead) {
        true => host.client().attend().await.map_err(|error| error.code() == ErrorCode::ServerUnreachable),
        false => Err(false),
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(is_gone) => {
            if !is_gone {
                let _elapsed = timeout(LOOK_AGAIN, host.wanted.notified()).await;
            }
            return;
        }
    };
    // What changed before the stream was open did not end it.
    look(host).await;
    if host.standing().is_up() {
        tokio::select! {
            () = stream.ended() => {}
            () = host.wanted.notified() => {}
        }
    }
}

async fn look(host: &Host) {
    // The standing tells how it went.
    let _asked = host.refresh().await;
}
