//! What the HTTP side asks of the other parts.

use async_trait::async_trait;
use claw_agent::{docker::DockerSandbox, gateway::Gateway};
use claw_jobs::{DiskGuard, JobsGauges, WorkerState};
use claw_server::{ModelLogin, Probes};
use claw_store::Store;

use super::telemetry::Scrape;

/// The parts of a running server, asked how they are.
pub(super) struct ServerProbes {
    pub(super) store: Store,
    pub(super) disk: DiskGuard,
    pub(super) worker: WorkerState,
    pub(super) gateway: Gateway,
    pub(super) sandbox: Option<DockerSandbox>,
    pub(super) gauges: JobsGauges,
    pub(super) scrape: Scrape,
}

#[async_trait]
impl Probes for ServerProbes {
    async fn model_login(&self) -> ModelLogin {
        let login = self.gateway.login().await;
        ModelLogin {
            kind: login.kind.to_owned(),
            status: login.status.as_str(),
            expires_at: login.expires_at,
            refreshed_at: login.refreshed_at,
            refresh_token_first_seen: login.refresh_token_first_seen,
            error: login.error,
        }
    }

    async fn metrics(&self) -> String {
        // What cannot be read now keeps its last value; the rest is worth telling all the more.
        if let Err(error) = self.gauges.refresh().await {
            tracing::warn!(%error, "metrics of jobs could not be brought up to date");
        }
        match self.store.upkeep.size().await {
            Ok(size) => metrics::gauge!("claw_store_bytes").set((size.bytes + size.log_bytes) as f64),
            Err(error) => tracing::warn!(%error, "the store's size could not be read"),
        }
        let is_paused = self.gateway.model_state().paused_until.is_some();
        metrics::gauge!("claw_gateway_paused").set(f64::from(u8::from(is_paused)));
        self.scrape.render()
    }

    async fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Err(error) = self.store.upkeep.health().await {
            reasons.push(error.to_string());
        }
        if let Err(error) = self.disk.check() {
            reasons.push(error.to_string());
        }
        reasons.extend(self.worker.snapshot().waiting_because);
        // Several parts may wait for the same thing.
        reasons.dedup();
        reasons
    }

    fn sandboxes_waiting(&self) -> Option<usize> {
        self.sandbox.as_ref().map(DockerSandbox::waiting)
    }
}
