//! From the submit to the claim by a worker that has nothing else to do.

use std::{os::unix::fs::symlink, time::Duration};

use claw_core::Timestamp;

use super::{Plan, completed, submit};
use crate::{
    Outcome, agent,
    serve::{self, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MILLISECONDS: f64 = 5.0;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let (folder, data) = serve::data_dir(&plan.folder)?;
    // Processes instead of containers: what comes after the claim does not matter here, and is over sooner.
    let cli = folder.path().join("claude");
    symlink(std::env::current_exe()?, &cli)?;
    let setting = Setting::new(&plan.claw, &data).with("CLAW_EXECUTION_BACKEND", "local");
    let server = setting.with("CLAW_CLAUDE_PROGRAM", &cli.to_string_lossy()).start().await?;
    let mut client = server.client().await?;
    let mut times = Samples::default();
    for _ in 0..plan.or_quick(200, 10) {
        let sent = agent::now();
        let id = submit(&mut client, &agent::prompt(0, 1)).await?;
        let job = completed(&mut client, &id).await?;
        let started: Timestamp = job["started_at"].as_str().ok_or("a job that did not start")?.parse()?;
        times.push((started.as_nanosecond() - sent as i128) as f64 / 1e6);
        // The worker is to be asleep again.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let how = format!(
        "{} jobs, one after the other; from before the request is sent to the job's `started_at`",
        times.len()
    );
    Ok(vec![Row::both(
        "submit → claimed by an idle worker",
        Unit::Milliseconds,
        Budget::MedianAtMost(MAX_MILLISECONDS),
        &times,
        how,
    )])
}
