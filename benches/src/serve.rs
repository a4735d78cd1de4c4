//! The real server as a child, over a data folder of its own.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Outcome, client::Client, process, process::Process};

/// The administrator's token of every server here.
const TOKEN: &str = "claw-bench-token-0123456789abcdef";

/// How long a server may take to answer or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between looks at whether the server answers: short beside what is measured.
const LOOK: Duration = Duration::from_micros(500);

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    claw: PathBuf,
    data_dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl Setting {
    /// Returns the setting of a server over `data_dir` that cannot run jobs: they wait, so that nothing else disturbs.
    pub(crate) fn new(claw: &Path, data_dir: &Path) -> Self {
        let nowhere = format!("unix://{}", data_dir.join("no-engine.sock").display());
        Self { claw: claw.to_owned(), data_dir: data_dir.to_owned(), environment: Vec::new() }
            .with("DOCKER_HOST", &nowhere)
            .with("CLAW_SANDBOX_WARM", "0")
            .with("ANTHROPIC_API_KEY", "sk-ant-not-a-key")
            .with("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
            .with("RUST_LOG", "info")
    }

    /// Sets a variable; an empty value unsets it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Starts a server and waits for its first answer.
    pub(crate) async fn start(&self) -> Outcome<Server> {
        let address = free_address()?;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = process::tool(&self.claw.to_string_lossy());
        command.arg("serve").args(["--listen", &address.to_string()]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &self.data_dir);
        command.env("CLAW_DATA_DIR", &self.data_dir).env("CLAW_API_TOKEN", TOKEN).env("NO_COLOR", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.data_dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let begun = Instant::now();
        let child = command.spawn()?;
        let mut server = Server { child, address, started_in: Duration::ZERO, log: self.log_path() };
        server.first_answer(begun).await?;
        server.started_in = begun.elapsed();
        Ok(server)
    }

    /// Where the server's log goes: beside its folder, not into what it may look through.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

/// A server as its clients see it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    /// Its process, if it is known.
    pub(crate) process: Option<Process>,
}

impl Target {
    pub(crate) async fn client(&self) -> io::Result<Client<tokio::net::TcpStream>> {
        Client::connect(self.address, &self.key).await
    }
}

/// A server that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    started_in: Duration,
    log: PathBuf,
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the time from the start of the program to the end of its first answer.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Returns where to send requests as administrator.
    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, key: TOKEN.to_owned(), process: Some(self.process()) }
    }

    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Returns a connection as administrator.
    pub(crate) async fn client(&self) -> io::Result<Client<tokio::net::TcpStream>> {
        self.client_with(TOKEN).await
    }

    /// Returns a connection with a key.
    pub(crate) async fn client_with(&self, key: &str) -> io::Result<Client<tokio::net::TcpStream>> {
        Client::connect(self.address, key).await
    }

    /// Returns the server's log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends the server in order.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        let asked = process::tool("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let begun = Instant::now();
        while asked.success() && begun.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("the server does not end".into())
    }

    async fn first_answer(&mut self, begun: Instant) -> Outcome<()> {
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended with {status}:\n{}", self.log()).into());
            }
            if TcpStream::connect(self.address).is_ok() {
                let mut client = self.client().await?;
                let request = client.request("GET", "/health", None);
                if client.status(&request).await? == 200 {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("the server does not answer:\n{}", self.log()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a folder for data, with a short path: there are unix sockets in it.
pub(crate) fn data_dir(folder: &Path) -> Outcome<(TempDir, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("claw-bench-").tempdir_in(folder)?;
    // Users of sandboxes reach what is mounted for them; the data folder inside is closed by the server itself.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    Ok((folder, data))
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
