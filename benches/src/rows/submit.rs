//! Durable submits over HTTP: each is on disk before it is answered.

use std::time::Duration;

use super::{Plan, submit_body};
use crate::{
    Outcome,
    load::{self, Load},
    machine,
    serve::{self, Setting, Target},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MIN_RATE: f64 = 20_000.0;

/// Clients at once. The budget is for the first.
const CLIENTS: [usize; 2] = [16, 64];

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let time = Duration::from_secs(plan.or_quick(4, 1));
    let mut loads: [Vec<Load>; 2] = Default::default();
    let mut beside: [Vec<Load>; 2] = Default::default();
    let mut syncs = Samples::default();
    for _ in 0..plan.or_quick(5, 1) {
        // A disk that others use is not the same from one minute to the next.
        syncs.extend(machine::sync_time(&plan.folder)?);
        for (index, clients) in CLIENTS.into_iter().enumerate() {
            let (_folder, data) = serve::data_dir(&plan.folder)?;
            let server = Setting::new(&plan.claw, &data).start().await?;
            loads[index].push(load(&server.target(), clients, time).await?);
            server.stop().await?;
            if let Some(other) = &plan.beside {
                beside[index].push(load(other, clients, time).await?);
            }
        }
    }
    let mut rows = Vec::new();
    for ((clients, loads), beside) in CLIENTS.into_iter().zip(loads).zip(beside) {
        rows.push(row(clients, &loads, &syncs));
        if !beside.is_empty() {
            let row = row(clients, &beside, &syncs);
            rows.push(Row {
                what: format!("… the other server, {clients} clients"),
                budget: Budget::Nothing,
                ..row
            });
        }
    }
    rows.push(Row::both(
        "… one write of 64 KiB to this disk, meanwhile",
        Unit::Milliseconds,
        Budget::Nothing,
        &syncs,
        format!(
            "pwrite + fdatasync into a file that has its size, one at a time: {} clients that wait for each answer could have \
             {:.0}/s on this disk at the most",
            CLIENTS[0],
            CLIENTS[0] as f64 * 1_000.0 / syncs.median()
        ),
    ));
    Ok(rows)
}

/// Loads a server, after a while in which caches fill.
async fn load(target: &Target, clients: usize, time: Duration) -> Outcome<Load> {
    load::post(target, clients, time / 4, "/api/v1/jobs", submit_body).await?;
    load::post(target, clients, time, "/api/v1/jobs", submit_body).await
}

fn row(clients: usize, loads: &[Load], syncs: &Samples) -> Row {
    let of = |value: fn(&Load) -> f64| {
        let mut samples = Samples::default();
        loads.iter().for_each(|load| samples.push(value(load)));
        samples
    };
    let rates = of(|load| load.rate);
    let budget = if clients == CLIENTS[0] { Budget::MedianAtLeast(MIN_RATE) } else { Budget::Nothing };
    let how = format!(
        "{} runs, {:.0} to {:.0}/s; an answer after {:.2} ms p50, {:.2} ms p99; processor time for one: server {:.0} µs, load \
         generator {:.0} µs; disk {:.2} ms a sync",
        loads.len(),
        rates.least(),
        rates.most(),
        of(|load| load.times.median()).median(),
        of(|load| load.times.p99()).median(),
        of(|load| load.server_us).median(),
        of(|load| load.own_us).median(),
        syncs.median(),
    );
    Row::median(&format!("durable submit over HTTP, {clients} clients"), Unit::PerSecond, budget, &rates, how)
}
