//! The public conformance suite: against its fixtures on our transport, and against the `/mcp` of a whole server.

#[path = "../../examples/conformance/fixtures/mod.rs"]
mod fixtures;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use claw_core::Scope;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::house::House;

/// How long all scenarios of a revision may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Longest head of a request that the proxy takes.
const LONGEST_HEAD: usize = 64 * 1024;

/// What the suite did not find as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    scenario: String,
    check: String,
    why: String,
}

/// What the suite found.
#[derive(Debug, Default)]
struct Report {
    /// Checks that succeeded.
    passed: usize,
    scenarios: BTreeSet<String>,
    failed: BTreeSet<Finding>,
    /// Recommendations that were not followed.
    warned: BTreeSet<Finding>,
}

impl Report {
    fn read(folder: &Path) -> Self {
        let mut report = Self::default();
        for entry in std::fs::read_dir(folder).expect("the suite saved its results") {
            let folder = entry.expect("an entry").path();
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(folder.join("checks.json")).expect("checks");
            let checks: Vec<Value> = serde_json::from_str(&text).expect("a list of checks");
            // `server-<scenario>-<time>`, and the time has 24 characters.
            let scenario = name.strip_prefix("server-").expect("a server's scenario");
            let scenario = scenario[..scenario.len() - "-2026-01-01T00-00-00-000Z".len()].to_owned();
            for check in checks {
                let finding = || Finding {
                    scenario: scenario.clone(),
                    check: check["id"].as_str().unwrap_or_default().to_owned(),
                    why: check["errorMessage"].as_str().unwrap_or_default().to_owned(),
                };
                match check["status"].as_str() {
                    Some("SUCCESS") => report.passed += 1,
                    Some("FAILURE") => drop(report.failed.insert(finding())),
                    Some("WARNING") => drop(report.warned.insert(finding())),
                    _ => {}
                }
            }
            report.scenarios.insert(scenario);
        }
        report
    }

    /// The checks that failed, without those that cannot pass.
    fn failed_but(&self, known: &[&str]) -> Vec<&Finding> {
        self.failed.iter().filter(|finding| !known.contains(&finding.check.as_str())).collect()
    }
}

/// Runs scenarios of the suite.
#[expect(clippy::disallowed_methods, reason = "the suite is a program of its own")]
async fn run(address: SocketAddr, arguments: &[&str]) -> Report {
    let tools: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../.cache/mcp-tools/node_modules"].iter().collect();
    let program = tools.join("@modelcontextprotocol/conformance/dist/index.js");
    assert!(program.exists(), "the suite is not there: `scripts/test` fetches it");
    let results = TempDir::new().expect("a folder");
    let run = Command::new(tools.join(".bin/node"))
        .arg(program)
        .args(["server", "--url", &format!("http://{address}/mcp"), "--output-dir"])
        .arg(results.path())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run).await.expect("the suite ends in time").expect("the suite runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let report = Report::read(results.path());
    assert!(
        !report.scenarios.is_empty(),
        "nothing was run: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    report
}

async fn fixtures() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        fixtures::serve(listener, CancellationToken::new()).await.expect("the fixtures are served");
    });
    (address, AbortOnDropHandle::new(serving))
}

/// Every scenario of a revision, those that are not scored as well, without an exception.
async fn conforms(revision: &str, scenarios: usize) {
    let (address, _serving) = fixtures().await;

    let report = run(address, &["--requirements", revision]).await;

    assert_eq!(report.failed_but(&[]), Vec::<&Finding>::new());
    assert!(report.warned.is_empty(), "{:?}", report.warned);
    assert!(report.scenarios.len() >= scenarios, "{:?}", report.scenarios);
    assert!(report.passed > report.scenarios.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_revision_of_2026_07_28_is_spoken_with_tasks_as_the_suite_wants_it() {
    conforms("2026-07-28", 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_revision_of_2025_11_25_is_spoken_as_the_suite_wants_it() {
    conforms("2025-11-25", 33).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_skill_is_served_as_the_suite_wants_it() {
    let (address, _serving) = fixtures().await;

    for scenario in ["sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest"] {
        let report = run(address, &["--scenario", scenario]).await;

        assert_eq!(report.failed_but(&[]), Vec::<&Finding>::new());
        assert!(report.passed > 5, "{report:?}");
    }
}

/// Adds a key to each request on its way to a server: the suite brings none.
struct Proxy {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn to(server: SocketAddr, key: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                connections.spawn(pass_one_request(client, server, key.clone()));
            }
        });
        Self { address, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// Passes on one request, and the answer until one side ends it.
async fn pass_one_request(mut client: TcpStream, server: SocketAddr, key: String) -> std::io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 2;
        }
        if head.len() > LONGEST_HEAD || client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let mut server = TcpStream::connect(server).await?;
    let kept = head[..end]
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.to_ascii_lowercase().starts_with(b"connection:"));
    let mut request: Vec<u8> = kept.flatten().copied().collect();
    // So that the next request comes by a connection of its own.
    request.extend_from_slice(format!("connection: close\r\nauthorization: Bearer {key}\r\n").as_bytes());
    request.extend_from_slice(&head[end..]);
    server.write_all(&request).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Checks that the suite cannot make of a server without its diagnostic tools, which would have to be made for it.
const NEED_FIXTURES: [&str; 4] = [
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_server_passes_the_scenarios_that_need_no_fixtures() {
    let house = House::new().await;
    let key = house.key(&[Scope::ContainersRead, Scope::JobsRead]).await;
    let server = house.url().strip_prefix("http://").expect("an address").parse().expect("an address");
    let proxy = Proxy::to(server, key).await;

    for (revision, scenarios) in [
        (
            "2025-11-25",
            &[
                "server-initialize",
                "server-session-lifecycle",
                "ping",
                "tools-list",
                "dns-rebinding-protection",
            ][..],
        ),
        (
            "2026-07-28",
            &[
                "server-stateless",
                "tools-list",
                "dns-rebinding-protection",
                "caching",
                "http-header-validation",
            ],
        ),
    ] {
        for scenario in scenarios {
            let report = run(proxy.address, &["--scenario", scenario, "--spec-version", revision]).await;

            assert_eq!(report.failed_but(&NEED_FIXTURES), Vec::<&Finding>::new(), "{revision}: {report:?}");
            assert!(report.passed > 0, "{report:?}");
        }
    }
}
