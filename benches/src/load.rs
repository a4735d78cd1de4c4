//! Many clients at once, each with one request under way.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{Outcome, process::Process, serve::Target, stats::Samples};

/// What a load brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) rate: f64,
    /// Time of each request in milliseconds.
    pub(crate) times: Samples,
    /// Processor time of the server for one request, in microseconds.
    pub(crate) server_us: f64,
    /// Processor time of this program for one request, in microseconds.
    pub(crate) own_us: f64,
}

/// Has `clients` connections post `body` over and over for a while. What `body` gives is asked anew for each request.
pub(crate) async fn post(
    target: &Target,
    clients: usize,
    time: Duration,
    path: &str,
    body: impl Fn(u64) -> String,
) -> Outcome<Load> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(target.client().await?);
    }
    let body = &body;
    let server_cpu = || target.process.map_or(Ok(Duration::ZERO), Process::cpu);
    let cpu_before = (server_cpu()?, Process::own().cpu()?);
    let begun = Instant::now();
    let loads = connections.into_iter().enumerate().map(|(index, mut connection)| async move {
        let mut times = Samples::default();
        let mut number = index as u64;
        while begun.elapsed() < time {
            let request = connection.request("POST", path, Some(&body(number)));
            let before = Instant::now();
            let status = connection.status(&request).await?;
            if !(200..300).contains(&status) {
                return Err(format!("a submit was answered with {status}").into());
            }
            times.push_time(before.elapsed());
            number += clients as u64;
        }
        Outcome::Ok(times)
    });
    let mut times = Samples::default();
    for samples in try_join_all(loads).await? {
        times.extend(samples);
    }
    let took = begun.elapsed().as_secs_f64();
    let count = times.len() as f64;
    let per_request = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / count;
    Ok(Load {
        rate: count / took,
        times,
        server_us: per_request(cpu_before.0, server_cpu()?),
        own_us: per_request(cpu_before.1, Process::own().cpu()?),
    })
}
