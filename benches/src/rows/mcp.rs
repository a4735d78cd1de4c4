//! The tools of MCP clients: the start of `clawmachine`, what it adds to a call, and calls over HTTP.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{Plan, submit};
use crate::{
    Outcome,
    client::Client,
    process::{self, Process},
    serve::{self, Server, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

/// Connections that call at the same time.
const CALLERS: usize = 16;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

const MAX_START_MILLISECONDS: f64 = 5.0;
const MAX_MEGABYTES: f64 = 12.0;
const MAX_OVERHEAD_MILLISECONDS: f64 = 0.4;
const MIN_CALLS: f64 = 5_000.0;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let program = plan.claw.with_file_name("clawmachine");
    if !program.is_file() {
        let program = program.display();
        return Err(format!("{program} is missing: build it with `cargo build --release -p claw-mcp`").into());
    }
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let server = Setting::new(&plan.claw, &data).start().await?;
    let mut client = server.client().await?;
    for _ in 0..10 {
        submit(&mut client, "Write a haiku about lobsters").await?;
    }
    let made = client.post("/api/keys", &json!({ "label": "bench", "scopes": ["*"] })).await?;
    let key = made["data"]["key"].as_str().ok_or("a key was made without telling it")?.to_owned();

    let mut rows = vec![size(&program)?];
    rows.extend(stdio(plan, &program, &server, &key).await?);
    rows.push(over_http(plan, &program, &server, &key).await?);
    rows.push(of_the_server(plan, &server, &key).await?);
    server.stop().await?;
    Ok(rows)
}

fn size(program: &Path) -> Outcome<Row> {
    Ok(Row {
        what: "`clawmachine`: release binary".to_owned(),
        unit: Unit::Megabytes,
        budget: Budget::MedianAtMost(MAX_MEGABYTES),
        median: program.metadata()?.len() as f64 / 1e6,
        p99: None,
        how: "the file".to_owned(),
    })
}

/// Starts, memory and calls over standard input and output.
async fn stdio(plan: &Plan, program: &Path, server: &Server, key: &str) -> Outcome<Vec<Row>> {
    let (starts, calls) = (plan.or_quick(200, 20), plan.or_quick(2_000, 200));
    let (mut started, mut memory) = (Samples::default(), Samples::default());
    for _ in 0..starts {
        let begun = Instant::now();
        let mut talk = Talk::start(program, server, key)?;
        talk.list().await?;
        started.push_time(begun.elapsed());
        memory.push(talk.process()?.most_memory()?);
        talk.end().await?;
    }
    let (mut through, mut direct) = (Samples::default(), Samples::default());
    let mut talk = Talk::start(program, server, key)?;
    talk.list().await?;
    let mut client = server.client_with(key).await?;
    let request = client.request("GET", "/api/v1/jobs", None);
    for _ in 0..calls {
        let begun = Instant::now();
        client.send(&request).await?.json()?;
        direct.push_time(begun.elapsed());
        let begun = Instant::now();
        talk.call().await?;
        through.push_time(begun.elapsed());
    }
    memory.push(talk.process()?.most_memory()?);
    talk.end().await?;
    let overhead = Row {
        what: "`clawmachine`: what it adds to a call over stdio".to_owned(),
        unit: Unit::Milliseconds,
        budget: Budget::MedianAtMost(MAX_OVERHEAD_MILLISECONDS),
        median: through.median() - direct.median(),
        p99: Some(through.p99() - direct.p99()),
        how: format!(
            "`list_jobs` with ten jobs, {:.2} ms, less the same page over HTTP, {:.2} ms; {calls} of each in turns",
            through.median(),
            direct.median()
        ),
    };
    let most = Row {
        median: memory.most(),
        ..Row::median(
            "`clawmachine`: most memory",
            Unit::Megabytes,
            Budget::MedianAtMost(MAX_MEGABYTES),
            &memory,
            format!("VmHWM, the most of {starts} starts and {calls} calls"),
        )
    };
    let how = format!(
        "handshake and list sent at once, all tools; {starts} starts, longest {:.1} ms",
        started.most()
    );
    let start = Row::median(
        "`clawmachine`: start → answered tools/list",
        Unit::Milliseconds,
        Budget::MedianAtMost(MAX_START_MILLISECONDS),
        &started,
        how,
    );
    Ok(vec![start, most, overhead])
}

/// Calls through `clawmachine -transport http`.
async fn over_http(plan: &Plan, program: &Path, server: &Server, key: &str) -> Outcome<Row> {
    let mut command = command(program, server, key);
    command.args(["-transport", "http", "-http-addr", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no pipe")?).lines();
    let address = loop {
        let line = timeout(PATIENCE, lines.next_line()).await??.ok_or("clawmachine ended at its start")?;
        if let Some((_, rest)) = line.split_once(" at http://") {
            break rest.trim_end_matches("/mcp").parse()?;
        }
    };
    let connect = async || Ok(Client::connect(address, key).await?);
    let rate = rate(plan, connect).await?;
    child.kill().await?;
    Ok(calls_row("`clawmachine`: calls over streamable HTTP", rate, "through it to the server"))
}

/// Calls of the server's own `/mcp`.
async fn of_the_server(plan: &Plan, server: &Server, key: &str) -> Outcome<Row> {
    let rate = rate(plan, async || Ok(server.client_with(key).await?)).await?;
    Ok(calls_row("calls of the server's own /mcp", rate, "inside the server"))
}

fn calls_row(what: &str, rate: f64, way: &str) -> Row {
    Row {
        what: what.to_owned(),
        unit: Unit::PerSecond,
        budget: Budget::MedianAtLeast(MIN_CALLS),
        median: rate,
        p99: None,
        how: format!(
            "`list_jobs` with ten jobs, {CALLERS} connections, each call a request of its own, {way}"
        ),
    }
}

/// Returns how many calls a second are answered.
async fn rate(plan: &Plan, connect: impl AsyncFn() -> Outcome<Client<TcpStream>>) -> Outcome<f64> {
    let time = plan.or_quick(Duration::from_secs(10), Duration::from_secs(2));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let client = connect().await?.with_headers(&[
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "list_jobs"),
        ]);
        callers.push(client);
    }
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "claw-bench", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "list_jobs", "arguments": {}, "_meta": meta });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let first = callers.first_mut().ok_or("nobody calls")?;
    let answer = first.send(&first.request("POST", "/mcp", Some(&call))).await?.json()?;
    if answer["result"]["structuredContent"]["jobs"].as_array().is_none_or(|jobs| jobs.len() != 10) {
        return Err(format!("a call was answered with {answer}").into());
    }
    let begun = Instant::now();
    let call = &call;
    let calling = callers.into_iter().map(|mut caller| async move {
        let request = caller.request("POST", "/mcp", Some(call));
        let mut calls = 0_u32;
        while begun.elapsed() < time {
            let status = caller.status(&request).await?;
            if status != 200 {
                return Err(format!("a call was answered with {status}").into());
            }
            calls += 1;
        }
        Outcome::Ok(calls)
    });
    let calls: u32 = try_join_all(calling).await?.into_iter().sum();
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}

fn command(program: &Path, server: &Server, key: &str) -> Command {
    let mut command = Command::from(process::tool(&PathBuf::from(program).to_string_lossy()));
    command.args(["-api-url", &format!("http://{}", server.address()), "-api-key", key]);
    command.env_clear().kill_on_drop(true);
    command
}

/// A talk with `clawmachine` over its standard input and output.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Talk {
    fn start(program: &Path, server: &Server, key: &str) -> Outcome<Self> {
        let mut command = command(program, server, key);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdin = child.stdin.take().ok_or("no pipe")?;
        let stdout = BufReader::with_capacity(64 * 1024, child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, stdin, stdout, line: String::new() })
    }

    fn process(&self) -> Outcome<Process> {
        Ok(Process::new(self.child.id().ok_or("clawmachine has ended")?))
    }

    /// Shakes hands and lists the tools, all in one write.
    async fn list(&mut self) -> Outcome<()> {
        let client = json!({ "name": "claw-bench", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let messages = [
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
        ];
        let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
        self.stdin.write_all(text.as_bytes()).await?;
        self.answer("\"id\":1,").await?;
        self.answer("\"tools\":[").await
    }

    async fn call(&mut self) -> Outcome<()> {
        let call = concat!(
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list_jobs","arguments":{}}}"#,
            "\n"
        );
        self.stdin.write_all(call.as_bytes()).await?;
        self.answer("\"structuredContent\"").await
    }

    /// Reads one answer, which must have these words.
    async fn answer(&mut self, words: &str) -> Outcome<()> {
        self.line.clear();
        timeout(PATIENCE, self.stdout.read_line(&mut self.line)).await??;
        if self.line.contains(words) { Ok(()) } else { Err(format!("not an answer: {}", self.line).into()) }
    }

    async fn end(mut self) -> Outcome<()> {
        drop(self.stdin);
        let status: std::process::ExitStatus = timeout(PATIENCE, self.child.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("clawmachine ended with {status}").into()) }
    }
}
