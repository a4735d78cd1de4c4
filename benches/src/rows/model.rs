//! From the submit to the first request of the real CLI at the model API, cold and with a sandbox that waits.

use std::time::{Duration, Instant};

use claw_testkit::FakeApi;

use super::{PATIENCE, Plan, completed, submit};
use crate::{
    Outcome, image,
    serve::{self, Server, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_COLD: f64 = 600.0;
const MAX_WARM: f64 = 150.0;

/// What the server notes when a sandbox waits.
const WAITS: &str = "a sandbox waits for a job";

/// How long the machine has to itself before a job is submitted.
const REST: Duration = Duration::from_millis(500);

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let (_other_folder, other_data) = serve::data_dir(&plan.folder)?;
    let times = both(plan, [&data, &other_data]).await;
    image::remove_leftovers(&data);
    image::remove_leftovers(&other_data);
    let (cold, warm) = times?;
    let how = format!(
        "{} jobs each, taking turns, the real CLI in Docker without a network; to the arrival at a scripted model API on this machine",
        cold.len()
    );
    let row = |what: &str, most: f64, times: &Samples| {
        let how = format!("{how}; {:.0} to {:.0} ms", times.least(), times.most());
        Row::median(what, Unit::Milliseconds, Budget::MedianAtMost(most), times, how)
    };
    Ok(vec![
        row("submit → the CLI's first model request, cold", MAX_COLD, &cold),
        row("submit → the CLI's first model request, warm", MAX_WARM, &warm),
    ])
}

async fn both(plan: &Plan, data: [&std::path::Path; 2]) -> Outcome<(Samples, Samples)> {
    let model = FakeApi::start().await;
    let setting = |data, warm: &str| {
        Setting::new(&plan.claw, data)
            .with("DOCKER_HOST", "")
            .with("ANTHROPIC_BASE_URL", model.base_url())
            .with("CLAW_SANDBOX_WARM", warm)
            .with("RUST_LOG", "info,claw_agent=debug")
    };
    let cold_server = setting(data[0], "0").start().await?;
    let warm_server = setting(data[1], "1").start().await?;
    let (mut cold, mut warm) = (Samples::default(), Samples::default());
    for run in 0..=plan.or_quick(12, 2) {
        waiting(&warm_server, run + 1).await?;
        let was_cold = first_request(&cold_server, &model).await?;
        let was_warm = first_request(&warm_server, &model).await?;
        // The first of each fills caches.
        if run > 0 {
            cold.push_time(was_cold);
            warm.push_time(was_warm);
        }
    }
    cold_server.stop().await?;
    warm_server.stop().await?;
    Ok((cold, warm))
}

async fn first_request(server: &Server, model: &FakeApi) -> Outcome<Duration> {
    tokio::time::sleep(REST).await;
    let mut client = server.client().await?;
    let before = model.message_requests().len();
    let begun = Instant::now();
    let id = submit(&mut client, "Say ok.").await?;
    model.wait_for_request(before + 1).await;
    let time = begun.elapsed();
    completed(&mut client, &id).await?;
    Ok(time)
}

/// Waits until the server has had so many sandboxes waiting since its start.
async fn waiting(server: &Server, count: usize) -> Outcome<()> {
    let begun = Instant::now();
    while server.log().matches(WAITS).count() < count {
        if begun.elapsed() > PATIENCE {
            return Err("no sandbox waits for a job".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
