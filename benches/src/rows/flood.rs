//! One job that writes ten thousand lines a second, while others use the server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Plan, completed, submit};
use crate::{
    Outcome, agent,
    client::Client,
    follow::{Follower, Seen},
    image::{self, AgentImage},
    process::Process,
    serve::{self, Server, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const RATE: u64 = 10_000;

const MAX_HEALTH_MILLISECONDS: f64 = 20.0;

/// How often the others ask.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Lines that one page of the log may hold.
const LOG_PAGE: u64 = 10_000;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let seconds = plan.or_quick(20, 3);
    let image = AgentImage::make()?;
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let setting =
        Setting::new(&plan.claw, &data).with("DOCKER_HOST", "").with("CLAW_SANDBOX_IMAGE", image.name());
    let server = setting.start().await?;
    let flooded = flood(&server, seconds * RATE).await;
    drop(server);
    image::remove_leftovers(&data);
    flooded
}

async fn flood(server: &Server, lines: u64) -> Outcome<Vec<Row>> {
    let before = server.process().memory()?;
    let stop = Arc::new(AtomicBool::new(false));
    let prober = std::thread::spawn({
        let (stop, address, process) = (Arc::clone(&stop), server.address(), server.process());
        move || probe(address, process, &stop)
    });
    let mut client = server.client().await?;
    let begun = Instant::now();
    let id = submit(&mut client, &agent::prompt(lines, RATE)).await?;
    let followed = follow(server, &id).await;
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let probed = prober.join().map_err(|_| "the prober broke off")??;
    let (delays, in_order) = followed?;
    completed(&mut client, &id).await?;
    let kept = kept(server, &id).await?;

    let total = lines as f64;
    let lost = Row {
        what: "10,000 log lines a second: lost".to_owned(),
        unit: Unit::Count,
        budget: Budget::MedianAtMost(0.0),
        median: (total - kept as f64).max(total - in_order as f64),
        p99: None,
        how: format!(
            "{lines} lines of one job in Docker in {:.1} s; kept in the log: {kept}, seen in order by a watching client: {in_order}, \
             {:.0} ms after they were written (p99)",
            took.as_secs_f64(),
            delays.p99()
        ),
    };
    let health = Row::both(
        "… /health meanwhile",
        Unit::Milliseconds,
        Budget::P99AtMost(MAX_HEALTH_MILLISECONDS),
        &probed.health,
        format!("{} requests, one each 10 ms", probed.health.len()),
    );
    let memory = Row {
        what: "… memory meanwhile, at its highest".to_owned(),
        unit: Unit::Megabytes,
        budget: Budget::Nothing,
        median: probed.memory.most(),
        p99: None,
        how: format!(
            "RSS; {before:.1} MB before, {:.1} MB in the first and {:.1} MB in the last quarter (medians)",
            probed.part(0.0, 0.25),
            probed.part(0.75, 1.0)
        ),
    };
    Ok(vec![lost, health, memory])
}

/// Follows the log to its end. Returns how late lines came, in milliseconds, and how many came in order.
async fn follow(server: &Server, id: &str) -> Outcome<(Samples, u64)> {
    let mut follower = Follower::log_of(server.client().await?, id).await?;
    let (mut delays, mut in_order, mut ended) = (Samples::default(), 0, false);
    while !ended {
        follower
            .next(|seen| match seen {
                Seen::Data(line) => {
                    if let Some((number, written)) = agent::stamp(&line) {
                        delays.push(agent::now().saturating_sub(written) as f64 / 1e6);
                        in_order += u64::from(number == in_order);
                    }
                }
                Seen::End => ended = true,
            })
            .await?;
    }
    Ok((delays, in_order))
}

/// Counts the agent's lines in the stored log.
async fn kept(server: &Server, id: &str) -> Outcome<u64> {
    let mut client = server.client().await?;
    let (mut offset, mut kept) = (0, 0);
    loop {
        let page = client.get(&format!("/api/v1/jobs/{id}/logs?offset={offset}&limit={LOG_PAGE}")).await?;
        let lines = page["lines"].as_array().ok_or("a log without lines")?;
        if lines.is_empty() {
            return Ok(kept);
        }
        offset += lines.len();
        let numbers = lines.iter().filter_map(|line| agent::stamp(line.as_str()?.as_bytes()));
        kept = numbers.fold(kept, |kept, (number, _)| kept + u64::from(number == kept));
    }
}

/// What the others saw.
#[derive(Debug, Default)]
struct Probed {
    health: Samples,
    memory: Samples,
    memory_over_time: Vec<f64>,
}

impl Probed {
    /// Returns the median of the memory in a part of the time.
    fn part(&self, from: f64, to: f64) -> f64 {
        let count = self.memory_over_time.len() as f64;
        let mut samples = Samples::default();
        let part =
            self.memory_over_time.get((from * count) as usize..(to * count) as usize).unwrap_or_default();
        part.iter().for_each(|value| samples.push(*value));
        samples.median()
    }
}

/// Asks after the server's health until told to stop. On a thread of its own, so that what else goes on here costs it
/// nothing.
fn probe(address: SocketAddr, process: Process, stop: &AtomicBool) -> Outcome<Probed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(address, "").await?;
        let request = client.request("GET", "/health", None);
        let mut probed = Probed::default();
        while !stop.load(Ordering::Relaxed) {
            let before = Instant::now();
            let status = client.status(&request).await?;
            if status != 200 {
                return Err(format!("/health was answered with {status}").into());
            }
            probed.health.push_time(before.elapsed());
            let memory = process.memory()?;
            probed.memory.push(memory);
            probed.memory_over_time.push(memory);
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(probed)
    })
}
