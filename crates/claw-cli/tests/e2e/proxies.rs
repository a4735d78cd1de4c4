//! The shipped settings for Caddy and nginx, as those programs themselves take them, in front of a real server.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use claw_testkit::{FakeApi, TEST_TOKEN, TempDir, TestServer, wait_until};
use rustix::process::Signal;

use crate::without_docker::server_without_docker;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

/// The name that the examples are written for.
const NAME: &str = "claw.example.org";

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What must not get into a log.
const SECRET: &str = "wag_live_secret-in-an-address";

#[expect(clippy::disallowed_methods, reason = "the proxies and their clients are programs of the machine")]
fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A proxy with the shipped settings, but for the name's port, the certificate, and where things are.
struct Proxy {
    program: Child,
    /// How it ends at once, with its helpers.
    end: Signal,
    /// Ports of TLS and of plain text.
    ports: (u16, u16),
    folder: TempDir,
    server: TestServer,
    _model: FakeApi,
    _data: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.program);
        let _ = rustix::process::kill_process(id, self.end);
        let _ = self.program.wait();
    }
}

impl Proxy {
    /// Starts the program that `run` makes of the settings, with a server behind it.
    async fn start(
        file: &str,
        end: Signal,
        run: impl FnOnce(&TempDir, String, (u16, u16)) -> Command,
    ) -> Self {
        let (data, model, folder) = (TempDir::new(), FakeApi::start().await, TempDir::new());
        let settings = [
            ("CLAW_ALLOWED_HOSTS", NAME),
            ("CLAW_TRUSTED_PROXIES", "127.0.0.1"),
            ("CLAW_SECURE_COOKIES", "true"),
        ];
        let server = server_without_docker(&data, &model, &settings).await;
        certificate(&folder);
        let settings = std::fs::read_to_string(Path::new(DEPLOY).join(file)).expect("a shipped file");
        assert!(settings.contains("127.0.0.1:5179") && settings.contains(NAME));
        let settings = settings.replace("127.0.0.1:5179", server.url().trim_start_matches("http://"));
        let ports = (free_port(), free_port());
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let program = run(&folder, settings, ports)
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("this test needs caddy and nginx: run `scripts/test`, which installs them");
        let proxy = Self { program, end, ports, folder, server, _model: model, _data: data };
        wait_until("the proxy answers", PATIENCE, async || proxy.asked("/health", &[]).status.success())
            .await;
        proxy
    }

    /// A client's request through the proxy.
    fn client(&self, path: &str, arguments: &[&str]) -> Command {
        let (tls, plain) = self.ports;
        let resolved = [tls, plain].map(|port| format!("{NAME}:{port}:127.0.0.1"));
        let mut curl = command("curl", &["--silent", "--show-error", "--noproxy", "*", "--http1.1"]);
        curl.arg("--cacert").arg(self.folder.join("cert.pem")).args(["--resolve", &resolved[0]]);
        curl.args(["--resolve", &resolved[1], "--max-time", "60"]).args(arguments);
        curl.arg(format!("https://{NAME}:{tls}{path}"));
        curl
    }

    fn asked(&self, path: &str, arguments: &[&str]) -> Output {
        self.client(path, arguments).output().expect("these tests need curl")
    }

    /// What is answered to the administrator, with the head of the answer.
    fn answer(&self, path: &str, arguments: &[&str]) -> String {
        let output = self.asked(path, &[&["--include", "--header", &bearer()], arguments].concat());
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a stream has said so far goes to a file.
    fn stream(&self, path: &str, arguments: &[&str]) -> Stream {
        let file = self.folder.join(path.replace('/', "-"));
        let mut client = self.client(path, &["--no-buffer", "--include", "--header", &bearer()]);
        let written = std::fs::File::create(&file).expect("a file");
        let program = client.args(arguments).stdout(written).stderr(Stdio::null()).spawn().expect("curl");
        Stream { program, file }
    }
}

struct Stream {
    program: Child,
    file: std::path::PathBuf,
}

impl Stream {
    async fn says(&self, what: &str) {
        wait_until(&format!("the stream says {what}"), PATIENCE, async || {
            let bytes = std::fs::read(&self.file).expect("a file");
            String::from_utf8_lossy(&bytes).contains(what)
        })
        .await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn bearer() -> String {
    format!("Authorization: Bearer {TEST_TOKEN}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A certificate that signs itself.
fn certificate(folder: &TempDir) {
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let mut made =
        command("openssl", &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    made.args(["-nodes", "-days", "2", "-subj", &format!("/CN={NAME}"), "-addext"]);
    made.arg(format!("subjectAltName=DNS:{NAME}")).arg("-keyout").arg(key).arg("-out").arg(cert);
    let made = made.output().expect("these tests need openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// What people and agents do through the proxy.
async fn serves(proxy: &Proxy) {
    // Plain requests, with the name checked by the server, and TLS for good.
    let status = proxy.answer("/api/v1/status", &[]);
    assert!(status.starts_with("HTTP/1.1 200") && status.contains("\"docker_available\""), "{status}");
    assert!(status.to_ascii_lowercase().contains("strict-transport-security: max-age=31536000"), "{status}");
    let (_, plain) = proxy.ports;
    let moved = command("curl", &["--silent", "--include", "--noproxy", "*", "--resolve"])
        .arg(format!("{NAME}:{plain}:127.0.0.1"))
        .arg(format!("http://{NAME}:{plain}/docs"))
        .output()
        .expect("curl");
    let moved = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(moved.starts_with("HTTP/1.1 30") && moved.contains(&format!("https://{NAME}")), "{moved}");

    // A large body.
    let body = "x".repeat(900_000);
    let file = proxy.folder.write("prompt", serde_json::json!({ "prompt": body }).to_string());
    let data = format!("@{}", file.display());
    let sent = ["--header", "Content-Type: application/json", "--data-binary", &data];
    let refused = proxy.answer("/api/v1/jobs", &sent);
    assert!(!refused.contains("413 Request Entity Too Large</"), "the proxy answers in the server's place");

    // Events come as they happen: the stream stays open meanwhile.
    let events = proxy.stream("/api/v1/events/jobs", &[]);
    events.says("HTTP/1.1 200").await;
    let submitted = proxy.server.claw_json(&["submit", "through a proxy"]).await;
    events.says(submitted["id"].as_str().expect("an id")).await;

    // A socket: its frames are text, and the feed tells of every change.
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let upgrade: Vec<&str> = upgrade.iter().flat_map(|header| ["--header", header]).collect();
    let socket = proxy.stream(&format!("/api/ws/activity?key={SECRET}"), &upgrade);
    socket.says("HTTP/1.1 101").await;
    socket.says("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").await;
    proxy.answer("/api/containers/templates", &sent_template());
    socket.says("seen-by-the-socket").await;

    // Who says that they are somewhere else was not believed.
    let trail = proxy.server.claw_ok(&["--json", "audit", "list", "--verb", "template."]).await;
    assert!(trail.contains("\"client\":\"127.0.0.1\"") && !trail.contains("203.0.113.9"), "{trail}");
    // Another name is none of ours, whatever the proxy passes on.
    let other = proxy.answer("/api/v1/status", &["--header", "Host: evil.example"]);
    assert!(!other.contains("docker_available"), "{other}");
}

fn sent_template() -> [&'static str; 6] {
    [
        "--header",
        "X-Forwarded-For: 203.0.113.9",
        "--header",
        "Content-Type: application/json",
        "--data",
        r#"{"name":"seen-by-the-socket","image":"debian:bookworm-slim"}"#,
    ]
}

/// Nothing of what was logged is a secret.
fn keeps_secrets(log: &str) {
    assert!(log.contains("/api/ws/activity"), "the requests are logged: {log}");
    for secret in [SECRET, TEST_TOKEN] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn the_shipped_caddyfile_passes_requests_streams_and_sockets_on_and_logs_no_secret() {
    let proxy = Proxy::start("Caddyfile", Signal::KILL, |folder, settings, (tls, plain)| {
        let at = |name: &str| folder.join(name).display().to_string();
        let site = format!(
            "{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {plain}\n}}\nhttps://{NAME}:{tls} \
             {{\n\tbind 127.0.0.1\n\ttls {} {}\n",
            at("cert.pem"),
            at("key.pem")
        );
        let settings = settings.replace(&format!("{NAME} {{\n"), &site);
        let file = folder.write("Caddyfile", settings).display().to_string();
        let mut caddy = command("caddy", &["run", "--config", &file, "--adapter", "caddyfile"]);
        caddy.env("XDG_DATA_HOME", at("data")).env("XDG_CONFIG_HOME", at("config"));
        caddy
    })
    .await;

    serves(&proxy).await;

    keeps_secrets(&proxy.folder.read("log"));
}

#[tokio::test]
async fn the_shipped_nginx_conf_passes_requests_streams_and_sockets_on_and_logs_no_secret() {
    let proxy = Proxy::start("nginx.conf", Signal::TERM, |folder, settings, (tls, plain)| {
        let at = |name: &str| folder.join(name).display().to_string();
        let settings: Vec<_> = settings.lines().filter(|line| !line.contains("listen [::]")).collect();
        let letsencrypt = format!("/etc/letsencrypt/live/{NAME}");
        let settings = settings
            .join("\n")
            .replace("listen 80;", &format!("listen 127.0.0.1:{plain};"))
            .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{tls} ssl;"))
            .replace(&format!("{letsencrypt}/fullchain.pem"), &at("cert.pem"))
            .replace(&format!("{letsencrypt}/privkey.pem"), &at("key.pem"))
            .replace("/var/log/nginx/clawmachine.log", &at("access.log"));
        folder.write("site.conf", settings);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", at(kind)))
            .concat();
        let main = format!(
            "daemon off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\n{temporary}include {};\n}}\n",
            at("pid"),
            at("site.conf")
        );
        let file = folder.write("nginx.conf", main).display().to_string();
        command("/usr/sbin/nginx", &["-p", &at(""), "-c", &file])
    })
    .await;

    serves(&proxy).await;

    keeps_secrets(&proxy.folder.read("access.log"));
    keeps_secrets(&format!("/api/ws/activity {}", proxy.folder.read("log")));
}
