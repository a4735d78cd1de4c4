//! The real server as a process of its own, on a free port with a data folder of its own.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The admin token of every test server.
pub const TEST_TOKEN: &str = "test-token-0123456789abcdef";

/// How long a server may take to answer or to end before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server start announces on standard output, before the address.
const ANNOUNCEMENT: &str = "listening on ";

/// A `claw serve` that ends when dropped. It can be killed and started again over the same data folder.
pub struct TestServer {
    program: PathBuf,
    data_dir: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    url: String,
}

impl TestServer {
    /// Starts `program serve` over `data_dir` with the given variables and waits until it listens.
    ///
    /// The environment holds nothing else but `PATH`, so that settings of whoever runs the tests do not leak in.
    ///
    /// # Panics
    ///
    /// Panics with the server's log if it does not start.
    pub async fn start(program: &Path, data_dir: &Path, environment: &[(&str, &str)]) -> Self {
        let mut server = Self {
            program: program.to_owned(),
            data_dir: data_dir.to_owned(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            child: None,
            url: String::new(),
        };
        server.start_again().await;
        server
    }

    /// Starts the server over the data folder it had. Its port is another one.
    ///
    /// # Panics
    ///
    /// Panics with the server's log if it does not start.
    pub async fn start_again(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the server's log file can be opened");
        let mut command = self.command();
        command.arg("serve").args(["--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("the server starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        self.child = Some(child);
        let mut lines = BufReader::new(stdout).lines();
        let address = async {
            while let Some(line) = lines.next_line().await.expect("standard output can be read") {
                if let Some((_, address)) = line.split_once(ANNOUNCEMENT) {
                    return Some(address.trim().to_owned());
                }
            }
            None
        };
        match tokio::time::timeout(PATIENCE, address).await {
            Ok(Some(url)) => self.url = url,
            Ok(None) | Err(_) => panic!("the server did not start; its log:\n{}", self.log()),
        }
        // Standard output stays open, so that a later line does not end the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    }

    /// Returns the server's address, such as `http://127.0.0.1:41234`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns the server's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Kills the server with SIGKILL, as a crash or the kernel would.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().await.expect("the server can be killed");
    }

    /// Asks the server to end in order, and waits until it has.
    ///
    /// # Panics
    ///
    /// Panics with the server's log if it does not end, or ends with a failure.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        let pid = child.id().expect("the server runs");
        self.signal_term(pid).await;
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("the server did not end; its log:\n{}", self.log()));
        assert!(
            status.expect("the server's status").success(),
            "the server failed; its log:\n{}",
            self.log()
        );
    }

    /// Runs a client command against the server as its administrator.
    pub async fn claw(&self, arguments: &[&str]) -> Output {
        let mut command = self.client();
        command.args(arguments);
        let run = command.output();
        tokio::time::timeout(Duration::from_secs(180), run)
            .await
            .expect("the command ends")
            .expect("the command runs")
    }

    /// Runs a client command that must succeed, and returns its standard output.
    ///
    /// # Panics
    ///
    /// Panics with the command's output and the server's log if it fails.
    pub async fn claw_ok(&self, arguments: &[&str]) -> String {
        let output = self.claw(arguments).await;
        assert!(
            output.status.success(),
            "claw {arguments:?} failed with {}:\n{}{}\nthe server's log:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    /// Runs a client command with `--json` that must succeed, and returns what it printed.
    ///
    /// # Panics
    ///
    /// Panics if it fails or prints something else than one JSON value.
    pub async fn claw_json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.claw_ok(&[&["--json"], arguments].concat()).await;
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("claw {arguments:?} printed no JSON ({error}): {text}"))
    }

    /// Returns a client command against the server, to be given arguments.
    pub fn client(&self) -> Command {
        let mut command = self.command();
        command.env("CLAW_API_URL", &self.url).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn command(&self) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "the program under test, started as a user would start it"
        )]
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", search_path()).env("HOME", &self.data_dir);
        command.env("CLAW_DATA_DIR", &self.data_dir).env("CLAW_API_TOKEN", TEST_TOKEN).env("NO_COLOR", "1");
        // Tests look for what jobs leave behind; the ones about sandboxes that wait ask for them.
        command.env("CLAW_SANDBOX_WARM", "0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.data_dir);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("server.log")
    }

    async fn signal_term(&self, pid: u32) {
        #[expect(clippy::disallowed_methods, reason = "a plain tool with fixed arguments, in a test")]
        let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
        assert!(status.expect("`kill` runs").success(), "the server could not be asked to end");
    }
}

#[expect(clippy::disallowed_methods, reason = "tests find their tools where the person who runs them does")]
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
