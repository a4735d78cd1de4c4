//! The memory of a server that has nothing to do.

use std::time::Duration;

use super::{Plan, submit_body};
use crate::{
    Outcome, load,
    serve::{self, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MEGABYTES: f64 = 40.0;

const CLIENTS: usize = 16;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let rest = Duration::from_secs(10);
    let load_time = Duration::from_secs(plan.or_quick(10, 2));
    let (mut fresh, mut loaded, mut most) = (Samples::default(), Samples::default(), Samples::default());
    let mut of_files = Samples::default();
    let mut submits = 0;
    for _ in 0..plan.or_quick(3, 1) {
        let (_folder, data) = serve::data_dir(&plan.folder)?;
        // As it is by default: with an Engine, if one is there.
        let server = Setting::new(&plan.claw, &data).with("DOCKER_HOST", "").start().await?;
        tokio::time::sleep(rest).await;
        fresh.push(server.process().memory()?);
        server.stop().await?;

        let server = Setting::new(&plan.claw, &data).start().await?;
        let load = load::post(&server.target(), CLIENTS, load_time, "/api/v1/jobs", submit_body).await?;
        submits = load.times.len();
        let mut reader = server.client().await?;
        for page in 0..200 {
            reader.get(&format!("/api/v1/jobs?limit=100&offset={}", page * 100)).await?;
        }
        tokio::time::sleep(rest).await;
        loaded.push(server.process().memory()?);
        most.push(server.process().most_memory()?);
        of_files.push(server.process().file_memory()?);
    }
    let budget = Budget::MedianAtMost(MAX_MEGABYTES);
    Ok(vec![
        Row::median("idle memory, fresh start", Unit::Megabytes, budget, &fresh, "RSS, 10 s after the start"),
        Row::median(
            "idle memory after a load run",
            Unit::Megabytes,
            budget,
            &loaded,
            format!(
                "RSS, 10 s after about {submits} submits from {CLIENTS} clients and 200 pages of 100 jobs; at its highest {:.1} MB; \
                 {:.1} MB of it are pages of the program's file, which the kernel may drop",
                most.median(),
                of_files.median()
            ),
        ),
    ])
}
