//! What we add to the Engine's own create and start of a container.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use claw_agent::{
    docker::{DockerSandbox, DockerSandboxConfig, SANDBOX_USER},
    sandbox::{Limits, Sandbox as _, SandboxSpec},
};
use claw_core::{JobId, NetworkMode};
use claw_docker::{DEFAULT_ENDPOINT, Docker};
use serde_json::{Value, json};

use super::Plan;
use crate::{
    Outcome,
    client::Client,
    image::SANDBOX_IMAGE,
    serve,
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MILLISECONDS: f64 = 10.0;

const MEMORY: u64 = 1 << 30;

/// What runs inside: it does nothing, and soon ends when asked to.
const PROGRAM: [&str; 2] = ["sleep", "60"];

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let (folder, _data) = serve::data_dir(&plan.folder)?;
    let work = folder.path().join("work");
    let socket = folder.path().join("socket");
    for folder in [&work, &socket] {
        std::fs::create_dir(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))?;
    }
    let instance = format!("bench{:07}", std::process::id());
    let config =
        DockerSandboxConfig { program: vec![PROGRAM[0].to_owned()], ..DockerSandboxConfig::new(&instance) };
    let sandbox = DockerSandbox::new(Docker::connect(None)?, config);
    sandbox.ready().await?;
    let endpoint = Path::new(DEFAULT_ENDPOINT.trim_start_matches("unix://"));
    let mut engine = Client::connect_unix(endpoint).await?;

    let (mut ours, mut theirs, mut over) = (Samples::default(), Samples::default(), Samples::default());
    let runs = plan.or_quick(25, 3);
    // The first of each fills caches.
    for run in 0..=runs {
        let engines = engine_alone(&mut engine, &work, &socket, &format!("claw-{instance}-{run}")).await?;
        let us = through_us(&sandbox, &work, &socket).await?;
        if run > 0 {
            ours.push_time(us);
            theirs.push_time(engines);
            over.push((us.as_secs_f64() - engines.as_secs_f64()) * 1_000.0);
        }
    }
    sandbox.settle().await;
    let how = format!(
        "{runs} pairs that took turns, no network: ours {:.0} ms (median), the Engine alone {:.0} ms; the median of the differences",
        ours.median(),
        theirs.median()
    );
    let budget = Budget::MedianAtMost(MAX_MILLISECONDS);
    Ok(vec![Row::median("sandbox: our time over the Engine's", Unit::Milliseconds, budget, &over, how)])
}

async fn through_us(sandbox: &DockerSandbox, work: &Path, socket: &Path) -> Outcome<Duration> {
    let spec = SandboxSpec {
        job: JobId::new(),
        attempt: 1,
        workspace: None,
        work_dir: work.to_owned(),
        current_dir: None,
        socket_dir: socket.to_owned(),
        arguments: vec![PROGRAM[1].to_owned()],
        environment: Vec::new(),
        stdin: Vec::new(),
        limits: Limits { memory_bytes: MEMORY, cpus: 1.0, pids: 64 },
        network: NetworkMode::None,
    };
    let before = Instant::now();
    let mut run = sandbox.start(spec).await?;
    let time = before.elapsed();
    run.stop(Duration::ZERO).await?;
    run.remove().await?;
    Ok(time)
}

/// Creates and starts a container of the same shape with two plain calls.
async fn engine_alone(
    engine: &mut Client<tokio::net::UnixStream>,
    work: &Path,
    socket: &Path,
    name: &str,
) -> Outcome<Duration> {
    let home = format!("{name}-home");
    let body = container(work, socket, &home);
    let before = Instant::now();
    let made = engine.post(&format!("/containers/create?name={name}"), &body).await?;
    let id = made["Id"].as_str().ok_or("the Engine made no container")?;
    engine.post(&format!("/containers/{id}/start"), &json!({})).await?;
    let time = before.elapsed();
    for path in [format!("/containers/{id}?force=true"), format!("/volumes/{home}?force=true")] {
        let request = engine.request("DELETE", &path, None);
        engine.send(&request).await?.json()?;
    }
    Ok(time)
}

fn container(work: &Path, socket: &Path, home: &str) -> Value {
    let bind = |source: &Path, target: &str| json!({"Type": "bind", "Source": source, "Target": target});
    json!({
        "Image": SANDBOX_IMAGE,
        "User": format!("{}:{}", SANDBOX_USER.0, SANDBOX_USER.1),
        "Entrypoint": [PROGRAM[0]], "Cmd": [PROGRAM[1]],
        "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none", "Memory": MEMORY, "MemorySwap": MEMORY, "NanoCpus": 1_000_000_000, "PidsLimit": 64,
            "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": true, "IpcMode": "private",
            "CgroupnsMode": "private", "Init": true, "OomScoreAdj": 500,
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "Tmpfs": {"/tmp": format!("rw,exec,nosuid,nodev,mode=1777,size={}", MEMORY / 2)},
            "Mounts": [
                bind(work, "/workspace"), bind(socket, "/run/claw"),
                {"Type": "volume", "Source": home, "Target": "/home/claw"},
            ],
            "LogConfig": {"Type": "none"},
        },
    })
}
