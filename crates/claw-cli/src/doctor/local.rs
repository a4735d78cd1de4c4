//! Checks of this machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use claw_docker::{Docker, DockerError};
use claw_workspace::Workspaces;
use tokio::net::TcpListener;

use super::Check;
use crate::{
    render,
    settings::{ExecutionBackend, Settings},
};

/// With less free space than this, jobs fail soon.
const TOO_LITTLE_DISK: u64 = 1 << 30;
/// With less free space than this, images and workspaces will not fit for long.
const LITTLE_DISK: u64 = 5 << 30;

/// Tells whether the server could listen. Asked only when none answers.
pub(super) async fn port(settings: &Settings) -> Check {
    const NAME: &str = "port";
    let listen = settings.server.listen;
    match TcpListener::bind(listen).await {
        Ok(_) => Check::ok(NAME, format!("{listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::fail(
            NAME,
            format!("another program listens on {listen}"),
            "end that program (`ss -ltnp` names it), or choose another address with --listen or CLAW_LISTEN",
        ),
        Err(error) => Check::fail(
            NAME,
            format!("cannot listen on {listen}: {error}"),
            "choose another address with --listen or CLAW_LISTEN",
        ),
    }
}

/// Asks the Docker Engine, and for the image that jobs run in.
pub(super) async fn docker(settings: &Settings) -> Vec<Check> {
    const NAME: &str = "docker";
    // A server that runs jobs as its own processes does without.
    let problem = match settings.server.execution_backend {
        ExecutionBackend::Docker => Check::fail,
        ExecutionBackend::Local => Check::warn,
    };
    let mend = "install Docker (https://docs.docker.com/engine/install), start it (`systemctl start docker`) and let \
                this user reach it (`usermod -aG docker USER`); jobs wait until it answers";
    let (engine, certificates) = (&settings.server.docker_host, &settings.server.docker_cert_path);
    let docker = match Docker::connect_with(engine.as_deref(), certificates.as_deref()) {
        Ok(docker) => docker,
        Err(error) => {
            return vec![problem(NAME, error.to_string(), "correct `docker_host` or DOCKER_HOST".into())];
        }
    };
    let engine = match docker.info().await {
        Ok(engine) => engine,
        Err(error) => return vec![problem(NAME, error.to_string(), mend.into())],
    };
    let found = format!("Docker {} answers at {}", engine.server_version, docker.endpoint());
    vec![Check::ok(NAME, found), image(&docker, &settings.sandbox.image, problem).await]
}

async fn image(docker: &Docker, image: &str, problem: fn(&'static str, String, String) -> Check) -> Check {
    const NAME: &str = "sandbox image";
    let mend = format!(
        "build it: `docker build -t {image} images/sandbox` in the project's folder, or `scripts/run`"
    );
    match docker.image(image).await {
        Ok(Some(found)) => Check::ok(NAME, format!("{image}, {}", render::size(found.size_bytes))),
        Ok(None) => problem(NAME, format!("{image} is not on this machine"), mend),
        Err(error @ DockerError::BadName { .. }) => {
            problem(NAME, error.to_string(), "correct `sandbox.image`".into())
        }
        Err(error) => problem(NAME, error.to_string(), mend),
    }
}

/// Asks git for its version.
pub(super) async fn git() -> Check {
    const NAME: &str = "git";
    match Workspaces::git_version().await {
        Ok(version) => Check::ok(NAME, format!("git {version}")),
        Err(error) => {
            Check::fail(NAME, error.to_string(), "install a recent git (Debian: `apt-get install git`)")
        }
    }
}

/// Tells what jobs of a server started here would reach the model with.
pub(super) fn model(settings: &Settings) -> Check {
    const NAME: &str = super::MODEL_CREDENTIAL;
    let model = &settings.model;
    let at = &model.base_url.0;
    if model.api_key.is_some() {
        return Check::ok(NAME, format!("an API key for {at}"));
    }
    if model.auth_token.is_some() || model.oauth_token.is_some() {
        return Check::ok(NAME, format!("a token for {at}"));
    }
    let login = model.claude_home.join(".credentials.json");
    match std::fs::File::open(&login) {
        Ok(_) => Check::ok(NAME, format!("the login in {} for {at}", login.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Check::fail(
            NAME,
            "neither an API key nor a token nor a Claude login was found".to_owned(),
            "log in with `claude`, or set ANTHROPIC_API_KEY, or CLAUDE_CODE_OAUTH_TOKEN to what `claude \
             setup-token` prints",
        ),
        Err(error) => Check::fail(
            NAME,
            format!("{} cannot be read: {error}", login.display()),
            "let this user read it, or set ANTHROPIC_API_KEY",
        ),
    }
}

/// Looks at the free space where the data is, or will be.
pub(super) fn disk(settings: &Settings) -> Check {
    const NAME: &str = "disk";
    let folder = &settings.server.data_dir;
    let existing = nearest_existing(folder);
    let free = match rustix::fs::statvfs(&existing) {
        Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
        Err(error) => {
            let found = format!("cannot ask for the free space of {}: {error}", existing.display());
            return Check::warn(NAME, found, "choose another folder with --data-dir or CLAW_DATA_DIR");
        }
    };
    if rustix::fs::access(&existing, rustix::fs::Access::WRITE_OK).is_err() {
        let found = format!("this user cannot write to {}", existing.display());
        return Check::fail(NAME, found, "choose another folder with --data-dir or CLAW_DATA_DIR");
    }
    let found = format!("{} free for {}", render::size(free), folder.display());
    let mend = "make room, or choose another folder with --data-dir or CLAW_DATA_DIR";
    match free {
        free if free < TOO_LITTLE_DISK => Check::fail(NAME, found, mend),
        free if free < LITTLE_DISK => Check::warn(NAME, found, mend),
        _ => Check::ok(NAME, found),
    }
}

fn nearest_existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/")).to_owned()
}
