//! A marketplace over the machine's own Engine, with a catalog of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claw_core::{Actor, Principal, Scope, SystemClock};
use claw_docker::{
    Docker, Mirror,
    policy::{Own, Policy},
};
use claw_gate::{Gate, GateConfig};
use claw_homelab::{
    Homelab, HomelabParts,
    marketplace::{Catalog, Composer, ComposerConfig, Marketplace, MarketplaceConfig},
};
use claw_store::{
    Store,
    sqlite::{SqliteOptions, SqliteStore},
};
use claw_testkit::{DockerScope, TempDir};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server of one page, out of what every image of Debian has.
const SERVER: &str = concat!(
    "use IO::Socket::INET; $$SIG{TERM} = sub { exit 0 }; ",
    "$$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die; ",
    "print STDERR \"listening\\n\"; ",
    "while ($$c = $$s->accept) { while (<$$c>) { last if /^\\r?$$/ } ",
    "open F, \"/page/index.html\"; $$b = join(\"\", <F>) . $$ENV{GREETING}; close F; ",
    "print $$c \"HTTP/1.0 200 OK\\r\\nContent-Length: \" . length($$b) . \"\\r\\n\\r\\n$$b\"; close $$c }",
);

/// A house with a marketplace. What its tests install is gone when it is dropped.
pub(crate) struct Lab {
    pub(crate) marketplace: Marketplace,
    pub(crate) homelab: Homelab,
    pub(crate) store: Store,
    pub(crate) scope: DockerScope,
    pub(crate) folder: TempDir,
    pub(crate) catalog: PathBuf,
    engine: SqliteStore,
    stop: CancellationToken,
}

/// Which of the two programs runs Compose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compose {
    /// `docker compose`, version 2.
    Plugin,
    /// `docker-compose`, version 1.
    Standalone,
}

/// Where a house is, and what it works with.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Where apps are, if not below it.
    pub(crate) apps: Option<PathBuf>,
    pub(crate) compose: Compose,
    /// Where programs are looked for before the usual places.
    pub(crate) programs: Option<PathBuf>,
    /// Socket of the Engine, if it is not the machine's own.
    pub(crate) engine: Option<PathBuf>,
}

/// A house that leaves everything behind when it is dropped.
pub(crate) struct House {
    pub(crate) homelab: Homelab,
    store: Store,
    engine: SqliteStore,
    stop: CancellationToken,
}

impl Place {
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            apps: None,
            compose: Compose::Standalone,
            programs: None,
            engine: None,
        }
    }

    /// The folder of the catalog, which has the app `page` in the version 1 if nobody wrote another one.
    pub(crate) fn catalog(&self) -> PathBuf {
        let catalog = self.folder.join("catalog");
        if !catalog.join("page").exists() {
            write_page(&catalog, "1", free_port());
        }
        catalog
    }

    /// What runs Compose here: as in the server, with a cleared environment.
    pub(crate) fn composer(&self) -> Composer {
        Composer::new(self.composer_config())
    }

    pub(crate) fn composer_config(&self) -> ComposerConfig {
        let home = self.folder.join("home");
        let mut path = String::new();
        if let Some(programs) = &self.programs {
            path = format!("{}:", programs.display());
        }
        match self.compose {
            Compose::Plugin => {
                link(&plugin(), &home.join(".docker/cli-plugins/docker-compose"));
                path += "/usr/local/bin:/usr/bin:/bin";
            }
            // Without `docker`, which may have a plugin that would be preferred.
            Compose::Standalone => {
                let only = self.folder.join("only");
                let program = which("docker-compose");
                link(&program, &only.join("docker-compose"));
                path += &only.display().to_string();
            }
        }
        let engine = self.engine.iter().map(|socket| format!("unix://{}", socket.display()));
        ComposerConfig {
            path: path.into(),
            home,
            environment: engine.map(|engine| ("DOCKER_HOST".to_owned(), engine)).collect(),
            folder: self.folder.join("data/marketplace/empty"),
        }
    }

    /// Opens a house, as a start of the server does.
    pub(crate) async fn open(&self) -> House {
        let catalog = self.catalog();
        let engine =
            SqliteStore::open(&self.folder.join("claw.db"), SqliteOptions::default()).expect("a store");
        let store = engine.store();
        let clock = Arc::new(SystemClock);
        let config = GateConfig { api_token: None, data_dir: self.folder.clone() };
        let gate = Gate::new(config, store.clone(), clock.clone()).expect("a gate");
        gate.start(None).await.expect("a start");
        let socket = self.engine.as_deref().map(|socket| socket.to_str().expect("a plain path"));
        let docker = Docker::connect(socket).expect("an address");
        let stop = CancellationToken::new();
        let (mirror, follow) = Mirror::start(docker.clone(), stop.clone());
        tokio::spawn(follow);
        let apps = self.apps.clone().unwrap_or_else(|| self.folder.join("data/containers"));
        std::fs::create_dir_all(&apps).expect("a folder");
        let own = Own {
            names: vec!["clawmachine*".into(), "wagmios-backend".into()],
            folders: vec![self.folder.join("data").display().to_string()],
            apps_folder: Some(apps.display().to_string()),
            ..Own::default()
        };
        let homelab = Homelab::new(HomelabParts {
            docker,
            mirror,
            gate,
            store: store.clone(),
            clock,
            policy: Policy::default(),
            own,
            own_images: Vec::new(),
            data_dir: self.folder.clone(),
            activity_keep: 1000,
            marketplace: MarketplaceConfig {
                catalog: Catalog::from_folder(&catalog).expect("a catalog"),
                composer: self.composer(),
                host_apps_folder: apps.clone(),
                apps_folder: apps,
                state_folder: self.folder.join("data/marketplace"),
            },
        });
        House { homelab, store, engine, stop }
    }
}

impl House {
    /// Ends it as a stop of the server does: its file is free for the next one.
    pub(crate) async fn end(self) {
        self.homelab.settle().await;
        self.stop.cancel();
        self.engine.close().await;
    }
}

impl Lab {
    /// A house whose catalog has the app `page` in the version 1.
    pub(crate) async fn new() -> Self {
        Self::with(TempDir::shared(), DockerScope::new(), None).await
    }

    /// The same, with one of the two programs that run Compose.
    pub(crate) async fn composed_by(compose: Compose) -> Self {
        let folder = TempDir::shared();
        let place = Place { compose, ..Place::at(folder.path()) };
        Self::of(folder, DockerScope::new(), place).await
    }

    /// The house over a folder that another one had, as after a restart; or with another place for what is installed.
    pub(crate) async fn with(folder: TempDir, scope: DockerScope, apps: Option<&Path>) -> Self {
        let place = Place { apps: apps.map(Path::to_owned), ..Place::at(folder.path()) };
        Self::of(folder, scope, place).await
    }

    /// The house at a place.
    pub(crate) async fn of(folder: TempDir, scope: DockerScope, place: Place) -> Self {
        let House { homelab, store, engine, stop } = place.open().await;
        Self {
            marketplace: homelab.marketplace.clone(),
            homelab,
            store,
            scope,
            folder,
            catalog: place.catalog(),
            engine,
            stop,
        }
    }

    /// A name for an install that no other test has; everything of it is removed at the end.
    pub(crate) fn install(&mut self, what: &str) -> String {
        let id = format!("test-{}-{what}", self.scope.id());
        self.scope.also_remove_label(format!("com.docker.compose.project=claw-app-{id}"));
        id
    }

    /// The folder of an install of the app `page`.
    pub(crate) fn app_folder(&self, install: &str) -> PathBuf {
        self.folder.join("data/containers/page").join(install)
    }

    /// Ends the house as a stop of the server does, and returns what another one needs to go on.
    pub(crate) async fn end(self) -> (TempDir, DockerScope) {
        self.homelab.settle().await;
        self.stop.cancel();
        self.engine.close().await;
        (self.folder, self.scope)
    }
}

/// Compose as a plugin: `scripts/test` fetches one and says where it is.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests may say where it is")]
fn plugin() -> PathBuf {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/compose/docker-compose");
    let plugin = std::env::var_os("CLAW_TEST_COMPOSE").map_or_else(|| PathBuf::from(fetched), PathBuf::from);
    assert!(
        plugin.exists(),
        "these tests need Compose as a plugin at {}: run `scripts/test`, which fetches it",
        plugin.display()
    );
    plugin
}

/// The path of a program.
#[expect(clippy::disallowed_methods, reason = "the tests use the programs of whoever runs them")]
pub(crate) fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a path");
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("these tests need {program}: run `scripts/test`, which installs it");
    })
}

/// Makes a symbolic link with the folders above it, if it is not there yet.
fn link(target: &Path, link: &Path) {
    std::fs::create_dir_all(link.parent().expect("a folder")).expect("made");
    match std::os::unix::fs::symlink(target, link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("no link: {error}"),
        _ => {}
    }
}

/// Whoever may do what these scopes name.
pub(crate) fn actor(scopes: &[Scope]) -> Actor {
    Actor::new(Principal::User("ann".into()), "ann", scopes.iter().copied())
}

/// Whoever may do everything in the marketplace.
pub(crate) fn ann() -> Actor {
    actor(&[Scope::MarketplaceRead, Scope::MarketplaceWrite])
}

/// A port that nobody has right now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Writes the app `page` into a catalog.
pub(crate) fn write_page(catalog: &Path, version: &str, port: u16) {
    let folder = catalog.join("page");
    std::fs::create_dir_all(&folder).expect("a folder");
    let app = format!(
        "id = \"page\"\nname = \"Page\"\ncategory = \"Tests\"\ndescription = \"A page.\"\nport = {port}\nversion = \
         \"{version}\"\n\n[[variables]]\nname = \"GREETING\"\ndescription = \"What it says\"\nrequired = true\n\n\
         [[variables]]\nname = \"PAGE_PASSWORD\"\ngenerate = \"password\"\n"
    );
    let compose = format!(
        "services:\n  page:\n    image: debian:bookworm-slim\n    command:\n      - perl\n      - -e\n      - \
         '{SERVER}'\n    environment:\n      GREETING: ${{GREETING}}\n      PASSWORD: ${{PAGE_PASSWORD}}\n      \
         VERSION: \"{version}\"\n    ports: [\"127.0.0.1:{port}:8080\"]\n    volumes:\n      - ./page:/page\n      - \
         data:/data\n    stop_grace_period: 2s\n  helper:\n    image: debian:bookworm-slim\n    command: [sleep, \
         \"600\"]\n    init: true\n    depends_on: [page]\n    stop_grace_period: 1s\nvolumes:\n  data:\n"
    );
    std::fs::write(folder.join("app.toml"), app).expect("a file");
    std::fs::write(folder.join("compose.yaml"), compose).expect("a file");
}

/// What the page says, asked until it answers.
pub(crate) async fn fetch(port: u16) -> String {
    let asking = async {
        loop {
            if let Ok(page) = ask(port).await {
                return page;
            }
            // The page comes a moment after its container.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the page answers")
}

/// Asks once.
pub(crate) async fn ask(port: u16) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((_, page)) => Ok(page.to_owned()),
        None => Err(std::io::Error::other("no page")),
    }
}
