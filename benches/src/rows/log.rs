//! From a line of the agent's standard output to a client that watches.

use super::{Plan, submit};
use crate::{
    Outcome, agent,
    follow::{Follower, Seen},
    image::{self, AgentImage},
    serve::{self, Server, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MILLISECONDS: f64 = 50.0;

/// Lines a second: a lively agent.
const RATE: u64 = 50;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let image = AgentImage::make()?;
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let setting =
        Setting::new(&plan.claw, &data).with("DOCKER_HOST", "").with("CLAW_SANDBOX_IMAGE", image.name());
    let server = setting.start().await?;
    let watched = async {
        let mut times = Samples::default();
        let jobs = plan.or_quick(5, 1);
        for _ in 0..jobs {
            times.extend(watch(&server, plan.or_quick(500, 100)).await?);
        }
        let how = format!(
            "{} lines of {jobs} jobs in Docker at {RATE} lines a second; from the write inside of the container to the event stream's reader",
            times.len()
        );
        let budget = Budget::P99AtMost(MAX_MILLISECONDS);
        Outcome::Ok(vec![Row::both("log line → watching client", Unit::Milliseconds, budget, &times, how)])
    }
    .await;
    drop(server);
    image::remove_leftovers(&data);
    watched
}

async fn watch(server: &Server, lines: u64) -> Outcome<Samples> {
    let id = submit(&mut server.client().await?, &agent::prompt(lines, RATE)).await?;
    let mut follower = Follower::log_of(server.client().await?, &id).await?;
    let mut times = Samples::default();
    let mut ended = false;
    while !ended {
        follower
            .next(|seen| match seen {
                Seen::Data(line) => {
                    if let Some((_, written)) = agent::stamp(&line) {
                        times.push((agent::now().saturating_sub(written)) as f64 / 1e6);
                    }
                }
                Seen::End => ended = true,
            })
            .await?;
    }
    if times.len() as u64 == lines {
        Ok(times)
    } else {
        Err(format!("{} of {lines} lines came", times.len()).into())
    }
}
