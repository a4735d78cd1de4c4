//! The homelab: lists of containers, verdicts of the policy, checks of keys, and many who watch.

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use claw_core::{Actor, Role, Scope, Secret, SystemClock};
use claw_docker::policy::{
    ContainerWish, Facts, Grants, MountWish, MountWishSource, Policy, PortWish, Protocol,
};
use claw_gate::{Credential, Gate, GateConfig, NewKey};
use claw_store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::Plan;
use crate::{
    Outcome,
    image::{SANDBOX_IMAGE, docker},
    serve::{self, Server, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

/// Label of the containers here.
const LABEL: &str = "claw-bench";

/// Containers in the list that is measured.
const LISTED: usize = 200;

/// Containers beside which the memory is measured.
const MANY: usize = 500;

/// Who watches the activity.
const VIEWERS: usize = 1_000;

/// How long the mirror of the Engine may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let mut rows = vec![verdicts(plan)?, keys(plan).await?];
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let server = Setting::new(&plan.claw, &data).with("DOCKER_HOST", "").start().await?;
    rows.extend(viewers(plan, &server).await?);

    let mut containers = Containers::default();
    containers.grow_to(plan.or_quick(LISTED, 20))?;
    rows.extend(lists(plan, &server, containers.names.len()).await?);
    server.stop().await?;

    containers.grow_to(plan.or_quick(MANY, 30))?;
    rows.push(memory(plan, containers.names.len()).await?);
    Ok(rows)
}

/// A server that was asked for its many containers.
async fn memory(plan: &Plan, count: usize) -> Outcome<Row> {
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let server = Setting::new(&plan.claw, &data).with("DOCKER_HOST", "").start().await?;
    in_list(&server, count).await?;
    let mut client = server.client().await?;
    for _ in 0..100 {
        client.get("/api/containers").await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut memory = Samples::default();
    memory.push(server.process().memory()?);
    let what = format!("memory with {count} containers");
    let how = "RSS, 5 s after 100 lists of them";
    Ok(Row::median(&what, Unit::Megabytes, Budget::MedianAtMost(60.0), &memory, how))
}

/// Containers that are made and not started. Removed when dropped.
#[derive(Default)]
struct Containers {
    names: Vec<String>,
}

impl Containers {
    fn grow_to(&mut self, count: usize) -> Outcome<()> {
        while self.names.len() < count {
            let name = format!("{LABEL}-{}-{}", std::process::id(), self.names.len());
            let port = format!("127.0.0.1:{}:80", 20_000 + self.names.len());
            docker(&["create", "--name", &name, "--label", LABEL, "--publish", &port, SANDBOX_IMAGE])?;
            self.names.push(name);
        }
        Ok(())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for names in self.names.chunks(50) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            if let Err(error) = docker(&[&["rm", "--force"][..], &names].concat()) {
                eprintln!("left behind in Docker: {}: {error}", names.join(" "));
            }
        }
    }
}

/// Waits until the server lists as many containers.
async fn in_list(server: &Server, count: usize) -> Outcome<()> {
    let mut client = server.client().await?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let list = client.get("/api/containers").await?;
        if list["data"].as_array().is_some_and(|list| list.len() >= count) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the server does not list the containers".into())
}

/// Lists while another container comes, runs and goes.
async fn lists(plan: &Plan, server: &Server, count: usize) -> Outcome<Vec<Row>> {
    in_list(server, count).await?;
    let churn = std::thread::spawn(move || -> Result<usize, String> {
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            let name = format!("{LABEL}-{}-churn", std::process::id());
            let run =
                ["run", "--rm", "--name", &name, "--network", "none", "--entrypoint", "true", SANDBOX_IMAGE];
            docker(&run).map_err(|error| error.to_string())?;
            rounds += 1;
        }
        Ok(rounds)
    });
    let mut client = server.client().await?;
    let request = client.request("GET", "/api/containers", None);
    let mut times = Samples::default();
    let mut bytes = 0;
    while !churn.is_finished() || times.len() < plan.or_quick(1_000, 50) {
        let before = Instant::now();
        let answer = client.send(&request).await?;
        times.push_time(before.elapsed());
        answer.json()?;
        bytes = answer.body.len();
        // As clients do it; and the churn is to have its share of the processors.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rounds = churn.join().map_err(|_| "the churn broke off")??;
    let how = format!(
        "{} requests over HTTP, {bytes} bytes each, while {rounds} containers came, ran and went",
        times.len()
    );
    let what = format!("list of {count} containers");
    let row = |budget, how: String| Row::both(&what, Unit::Milliseconds, budget, &times, how);
    Ok(vec![row(Budget::MedianAtMost(2.0), how), row(Budget::P99AtMost(10.0), "the same".to_owned())])
}

/// Mutations with nobody and with many watching.
async fn viewers(plan: &Plan, server: &Server) -> Outcome<Vec<Row>> {
    let count = plan.or_quick(VIEWERS, 50);
    let mutations = plan.or_quick(500, 20);
    let alone = mutate(server, mutations).await?;
    let key = server.target().key;
    let mut watching = JoinSet::new();
    for _ in 0..count {
        let mut stream = watch(server.address(), &key).await?;
        watching.spawn(async move {
            let mut buffer = vec![0; 4096];
            let mut bytes = 0;
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                bytes += read;
            }
            bytes
        });
    }
    let watched = mutate(server, mutations).await?;
    if let Some(ended) = watching.try_join_next() {
        return Err(format!("a viewer was dropped after {} bytes", ended?).into());
    }
    watching.shutdown().await;
    let mut added = Samples::default();
    added.push(watched.p99() - alone.p99());
    let how = format!(
        "{mutations} saved templates, one after the other: {:.2} ms p99 with nobody watching, {:.2} ms with {count} WebSocket viewers; \
         medians {:.2} and {:.2} ms",
        alone.p99(),
        watched.p99(),
        alone.median(),
        watched.median()
    );
    let what = format!("{count} activity viewers: added to a mutation's p99");
    Ok(vec![Row::median(&what, Unit::Milliseconds, Budget::MedianAtMost(10.0), &added, how)])
}

async fn mutate(server: &Server, count: usize) -> Outcome<Samples> {
    let mut client = server.client().await?;
    let mut times = Samples::default();
    for number in 0..count {
        let body = json!({"name": format!("bench-{}", number % 10), "compose": "services: {}"}).to_string();
        let request = client.request("POST", "/api/containers/templates", Some(&body));
        let before = Instant::now();
        let answer = client.send(&request).await?;
        times.push_time(before.elapsed());
        answer.json()?;
    }
    Ok(times)
}

/// Opens a WebSocket on the activity feed.
async fn watch(address: SocketAddr, key: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /api/ws/activity HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    if &head != b"HTTP/1.1 101" {
        return Err(format!("no WebSocket: {}", String::from_utf8_lossy(&head)).into());
    }
    Ok(stream)
}

/// What the policy takes for an ordinary container.
fn verdicts(plan: &Plan) -> Outcome<Row> {
    let (policy, grants) = (Policy::default(), Grants::default());
    let facts = Facts {
        volumes: (0..4).map(|number| (format!("media-{number}"), None)).collect(),
        ..Facts::default()
    };
    let wish = ContainerWish {
        name: Some("media".to_owned()),
        image: "jellyfin/jellyfin:10.10.7".to_owned(),
        environment: (0..10).map(|number| (format!("NAME_{number}"), "value".to_owned())).collect(),
        ports: vec![PortWish { container: 8096, protocol: Protocol::Tcp, host: Some(8096), address: None }],
        mounts: (0..4)
            .map(|number| MountWish {
                source: MountWishSource::Volume {
                    name: format!("media-{number}"),
                    driver: None,
                    options: BTreeMap::new(),
                },
                target: format!("/data/{number}"),
                read_only: false,
                propagation: None,
            })
            .collect(),
        ..ContainerWish::default()
    };
    policy.judge(&wish, &facts, &grants).map_err(|refused| format!("refused: {refused}"))?;
    let mut times = Samples::default();
    for _ in 0..plan.or_quick(20_000, 500) {
        let before = Instant::now();
        let verdict = policy.judge(black_box(&wish), &facts, &grants);
        times.push_time(before.elapsed());
        drop(black_box(verdict));
    }
    let how = format!("{} verdicts on a container with 10 variables and 4 volumes", times.len());
    Ok(Row::both("policy verdict", Unit::Milliseconds, Budget::MedianAtMost(0.02), &times, how))
}

/// What the gate takes for a key that it has seen.
async fn keys(plan: &Plan) -> Outcome<Row> {
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let database = SqliteStore::open(&data.join("claw.db"), SqliteOptions::default())?;
    let config =
        GateConfig { api_token: Some(Secret::new("a-token-for-benchmarks-0123456789")), data_dir: data };
    let gate = Gate::new(config, database.store(), Arc::new(SystemClock))?;
    let new = NewKey {
        label: "bench".to_owned(),
        scopes: [Scope::ContainersRead].into(),
        role: Role::Agent,
        max_usd_per_day: None,
        expires_at: None,
    };
    let (key, _) = gate.create_key(&Actor::system(), new).await?;
    let client = std::net::IpAddr::from([127, 0, 0, 1]);
    let mut times = Samples::default();
    for _ in 0..plan.or_quick(20_000, 500) {
        let credential = Credential::ApiKey(Secret::new(key.expose()));
        let before = Instant::now();
        let actor = gate.authenticate(credential, client).await?;
        times.push_time(before.elapsed());
        drop(black_box(actor));
    }
    database.close().await;
    let how = format!("{} checks of one key, inside of the server", times.len());
    Ok(Row::both("check of a key", Unit::Milliseconds, Budget::MedianAtMost(0.02), &times, how))
}
