//! The server dies by SIGKILL in the middle of work on an app of the real Engine: at each point of it, and while Compose
//! is at work. The next one knows what is true, asking again does the rest, and nothing is lost or there twice.
//!
//! A child process is this very test program, running [`the_child_does_something_with_an_app`] over a folder of its
//! parent's.

use std::{
    collections::BTreeMap,
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use claw_homelab::marketplace::{InstallState, Installed, NewInstall, Which};
use claw_testkit::{DockerScope, TempDir, wait_until};

use crate::market_lab::{Compose, House, PATIENCE, Place, ann, fetch, free_port, which, write_page};

const TEST: &str = "market_crashes::the_child_does_something_with_an_app";
const FOLDER: &str = "CLAW_CRASH_FOLDER";
const DEED: &str = "CLAW_CRASH_DEED";
const INSTALL: &str = "CLAW_CRASH_INSTALL";
const PLUGIN: &str = "CLAW_CRASH_PLUGIN";

/// Where the server is killed, one after the other on the same install.
const CREATE: [&str; 6] = [
    "app.reserved:1",
    "app.file_written:1",
    "app.file_written:2",
    "app.file_written:3",
    "app.files_written:1",
    "app.file_written:1",
];
const START: [&str; 3] = ["app.file_written:1", "app.approved:1", "app.composed:1"];
/// The first three before the newer compose file is there, the others after it.
const UPDATE: [&str; 8] = [
    "app.updating:1",
    "app.file_written:1",
    "app.file_written:3",
    "app.updated:1",
    "app.file_written:1",
    "app.file_written:4",
    "app.approved:1",
    "app.composed:1",
];
const UNINSTALL: [&str; 4] = ["app.removing:1", "app.down:1", "app.removed:1", "app.forgotten:1"];

/// A user that is not root.
const SOMEBODY: u32 = 12_345;

fn new_page(install: &str) -> NewInstall {
    NewInstall {
        app_id: "page".into(),
        custom_name: Some(install.to_owned()),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        ..NewInstall::default()
    }
}

/// What a test has: an install, and houses that come and go.
struct Story {
    folder: TempDir,
    scope: DockerScope,
    place: Place,
    install: String,
}

impl Story {
    fn new(compose: Compose, what: &str) -> Self {
        let (folder, mut scope) = (TempDir::shared(), DockerScope::new());
        let install = format!("test-{}-{what}", scope.id());
        scope.also_remove_label(format!("com.docker.compose.project=claw-app-{install}"));
        let place = Place { compose, programs: Some(folder.folder("programs")), ..Place::at(folder.path()) };
        place.catalog();
        Self { folder, scope, place, install }
    }

    fn which(&self) -> Which {
        Which::named(&self.install)
    }

    /// A server that does something.
    fn child(&self, deed: &str) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this very program, to be killed")]
        let mut command = Command::new("/proc/self/exe");
        // Wherever that lies: others may have no way there.
        command.current_dir(self.folder.path());
        command.args([TEST, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, self.folder.path()).env(DEED, deed).env(INSTALL, &self.install);
        command.env("TMPDIR", self.folder.path());
        if self.place.compose == Compose::Plugin {
            command.env(PLUGIN, "1");
        }
        command.stdin(Stdio::null());
        command
    }

    /// Has a server do something and die on the way.
    fn killed(&self, deed: &str, point: Option<&str>) {
        let mut command = self.child(deed);
        if let Some(point) = point {
            command.env("CLAW_FAULT", point);
        }
        let output = command.output().expect("a child");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{deed} was not cut off at {point:?}: {said}");
    }

    /// Has a server do something that is not root, but in the group of Docker's socket.
    fn as_somebody(&self, deed: &str) {
        let socket = std::fs::metadata("/var/run/docker.sock").expect("the Engine's socket");
        let group = std::os::unix::fs::MetadataExt::gid(&socket);
        let output = self.child(deed).uid(SOMEBODY).gid(group).output().expect("a child");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the next server says of the install.
    async fn seen(&self, house: &House) -> Installed {
        house.homelab.marketplace.status(&ann(), &self.which()).await.expect("it is on record")
    }

    /// The password that the values have, if there are any.
    fn password(&self, name: &str) -> Option<String> {
        let values = std::fs::read_to_string(self.files().join(".env")).ok()?;
        let mut lines = values.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let found = lines.next().map(str::to_owned);
        assert_eq!(lines.next(), None, "there is one");
        found
    }

    fn files(&self) -> PathBuf {
        self.folder.join("data/containers/page").join(&self.install)
    }

    /// Files that somebody began to write.
    fn unfinished(&self) -> Vec<String> {
        let folders = [self.files(), self.folder.join("data/marketplace/approved")];
        let names = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".new")).collect()
    }

    /// What containers have in a variable.
    fn variable(&self, container: &str, name: &str) -> Option<String> {
        let output = docker(&["inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", container]);
        output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// The names of the containers of the project, running or not.
    fn containers(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project=claw-app-{}", self.install);
        let listed = docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    fn volumes(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project=claw-app-{}", self.install);
        let listed = docker(&["volume", "ls", "--quiet", "--filter", &label]);
        listed.lines().map(str::to_owned).collect()
    }

    fn both(&self) -> Vec<String> {
        vec![self.install.clone(), format!("{}-helper", self.install)]
    }
}

#[expect(clippy::disallowed_methods, reason = "looks at the Engine from outside")]
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("Docker's own program");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_b9_a_server_killed_while_it_works_on_an_app_knows_what_is_true_and_goes_on() {
    dies_and_goes_on(Compose::Standalone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_b9_so_it_is_with_compose_as_a_plugin() {
    dies_and_goes_on(Compose::Plugin).await;
}

async fn dies_and_goes_on(compose: Compose) {
    let story = Story::new(compose, "kill");
    let password = create_cut_off(&story).await;
    let port = start_cut_off(&story).await;
    update_cut_off(&story, &password, port).await;
    uninstall_cut_off(&story).await;
}

/// Returns the password that was made up.
async fn create_cut_off(story: &Story) -> String {
    let mut password = None;
    for point in CREATE {
        story.killed("create", Some(point));

        let house = story.place.open().await;
        let seen = story.seen(&house).await;
        assert_eq!(seen.state, InstallState::Incomplete, "{point}");
        let error = house.homelab.marketplace.start(&ann(), &story.which()).await.expect_err("half of it");
        assert!(error.to_string().contains("was not wholly written"), "{error}");
        house.end().await;
        // Once there is a password it stays the same.
        let written = story.password("PAGE_PASSWORD");
        assert!(password.is_none() || written == password, "{point}");
        password = password.or(written);
    }

    let house = story.place.open().await;
    let created =
        house.homelab.marketplace.create(&ann(), new_page(&story.install)).await.expect("it is made");
    // Nobody was ever told, so now they are.
    let told: Vec<_> =
        created.generated.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let password = password.expect("one was written");
    assert_eq!(told, [("PAGE_PASSWORD", password.as_str())]);
    assert_eq!(story.seen(&house).await.state, InstallState::Created);
    assert_eq!(house.homelab.marketplace.installed(&ann()).await.expect("a list").len(), 1);
    assert_eq!(story.unfinished(), Vec::<String>::new());
    house.end().await;
    password
}

/// Returns the port of the page.
async fn start_cut_off(story: &Story) -> u16 {
    for point in START {
        story.killed("start", Some(point));

        let house = story.place.open().await;
        let seen = story.seen(&house).await;
        let composed = point == "app.composed:1";
        let expected = if composed { InstallState::Running } else { InstallState::Stopped };
        assert_eq!(seen.state, expected, "{point}: {seen:?}");
        assert!(seen.failure.expect("it is told").contains("while this was being started"));
        // It may run, so nobody makes it anew.
        let again = house.homelab.marketplace.create(&ann(), new_page(&story.install)).await;
        assert_eq!(claw_core::Coded::code(&again.expect_err("taken")), claw_core::ErrorCode::NameTaken);
        house.end().await;
    }

    let house = story.place.open().await;
    let started = house.homelab.marketplace.start(&ann(), &story.which()).await.expect("a start").installed;
    assert_eq!((started.state, started.failure), (InstallState::Running, None));
    assert_eq!(story.containers(), story.both());
    let port = started.ports[0].host;
    std::fs::write(story.files().join("page/index.html"), "kept ").expect("a page");
    assert_eq!(fetch(port).await, "kept hello");
    house.end().await;
    port
}

/// The version 2 of the app, which needs one more password.
fn write_newer(place: &Place) {
    let catalog = place.catalog();
    write_page(&catalog, "2", free_port());
    let change = |file: &str, from: &str, to: &str| {
        let path = catalog.join("page").join(file);
        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
    };
    let variable = "[[variables]]\nname = \"SECOND_PASSWORD\"\ngenerate = \"password\"\n\n[[variables]]";
    change("app.toml", "[[variables]]", variable);
    change("compose.yaml", "      VERSION:", "      SECOND: ${SECOND_PASSWORD}\n      VERSION:");
}

async fn update_cut_off(story: &Story, password: &str, port: u16) {
    write_newer(&story.place);
    let mut second = None;
    for (number, point) in UPDATE.into_iter().enumerate() {
        story.killed("update", Some(point));

        let house = story.place.open().await;
        let seen = story.seen(&house).await;
        let written = std::fs::read_to_string(story.files().join("compose.yaml")).expect("a compose file");
        assert_eq!(written.contains("\"VERSION\": \"2\""), number >= 3, "{point}");
        assert!(seen.failure.expect("it is told").contains("while this was being updated"), "{point}");
        assert_eq!(seen.state, InstallState::Running, "{point}");
        house.end().await;
        assert_eq!(story.password("PAGE_PASSWORD").as_deref(), Some(password), "{point}");
        let now = story.password("SECOND_PASSWORD");
        assert!(second.is_none() || now == second, "{point}");
        second = second.or(now);
    }

    let house = story.place.open().await;
    let update = house.homelab.marketplace.update(&ann(), &story.which(), BTreeMap::new(), false).await;
    let update = update.expect("nobody edited anything");
    let now = &update.progress.installed;
    assert_eq!((now.state, now.failure.as_deref(), now.version.as_str()), (InstallState::Running, None, "2"));
    assert!(update.changed && update.to == "2", "{update:?}");
    let told: Vec<_> = update.generated.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(told, [("SECOND_PASSWORD", second.expect("one was written").as_str())]);
    assert_eq!(story.containers(), story.both());
    assert_eq!(story.variable(&story.install, "VERSION").as_deref(), Some("2"));
    assert_eq!(story.variable(&story.install, "PASSWORD").as_deref(), Some(password));
    assert_eq!(fetch(port).await, "kept hello");
    assert_eq!(story.unfinished(), Vec::<String>::new());
    let same = house.homelab.marketplace.update(&ann(), &story.which(), BTreeMap::new(), false).await;
    assert!(!same.expect("an update").changed);
    house.end().await;
}

async fn uninstall_cut_off(story: &Story) {
    for point in UNINSTALL {
        story.killed("uninstall", Some(point));

        let house = story.place.open().await;
        if point == "app.forgotten:1" {
            // All but what holds its passwords, and that goes by itself.
            assert_eq!(house.homelab.marketplace.installed(&ann()).await.expect("a list"), []);
            let approved = story.folder.join("data/marketplace/approved");
            wait_until("its last file is gone", PATIENCE, async || {
                std::fs::read_dir(&approved).expect("a folder").next().is_none()
            })
            .await;
        } else {
            let seen = story.seen(&house).await;
            assert_eq!(seen.state, InstallState::Removing, "{point}");
            let error =
                house.homelab.marketplace.start(&ann(), &story.which()).await.expect_err("half of it");
            assert!(error.to_string().contains("was not wholly removed"), "{error}");
        }
        house.end().await;
    }
    assert_eq!((story.scope.containers(), story.volumes()), (vec![], vec![]));
    assert!(!story.files().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_a_server_killed_while_compose_works_leaves_no_second_hand_at_the_containers() {
    dies_under_compose(Compose::Standalone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_so_it_is_with_the_plugin_and_its_helper() {
    dies_under_compose(Compose::Plugin).await;
}

async fn dies_under_compose(compose: Compose) {
    let story = Story::new(compose, "mid");
    let house = story.place.open().await;
    let created =
        house.homelab.marketplace.create(&ann(), new_page(&story.install)).await.expect("it is made");
    house.end().await;
    write_murderer(&story);

    story.killed("start", None);

    let house = story.place.open().await;
    let started = house.homelab.marketplace.start(&ann(), &story.which()).await.expect("a start").installed;
    assert_eq!((started.state, started.failure), (InstallState::Running, None));
    assert_eq!(strays(&story.folder.join("data/marketplace/empty")), Vec::<PathBuf>::new());
    assert_eq!(story.containers(), story.both());
    assert!(fetch(created.ports[0].host).await.contains("hello"));
    let gone = house.homelab.marketplace.uninstall(&ann(), &story.which(), true).await.expect("it is gone");
    assert_eq!((gone.data_kept_in, story.containers(), story.volumes()), (None, vec![], vec![]));
    house.end().await;
}

/// Puts a program in front of Compose that kills the server once the first container is there, and lets what it was told
/// to do hang.
fn write_murderer(story: &Story) {
    let name = match story.place.compose {
        Compose::Plugin => "docker",
        Compose::Standalone => "docker-compose",
    };
    let script = format!(
        "#!/bin/bash\nexport PATH=\"$PATH:/usr/bin:/bin\"\nif [[ \" $* \" == *\" up \"* ]] && rm {flag}; then\n  \
         {real} \"$@\" <&0 &\n  until [ -n \"$({docker} ps --all --quiet --filter \
         label=com.docker.compose.project=claw-app-{install})\" ]; do sleep 0.02; done\n  kill -STOP $!\n  kill -KILL \
         $PPID\n  wait\nfi\nexec {real} \"$@\"\n",
        flag = story.folder.write("once", "").display(),
        real = which(name).display(),
        docker = which("docker").display(),
        install = story.install,
    );
    let program = story.folder.write(Path::new("programs").join(name), script);
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("own file");
}

/// Processes that run in a folder.
fn strays(folder: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
    processes.filter(|path| std::fs::read_link(path.join("cwd")).is_ok_and(|place| place == folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_belongs_to_a_containers_root_stays_and_whoever_removes_the_app_is_told() {
    let story = Story::new(Compose::Standalone, "roots");
    story.as_somebody("create");
    story.as_somebody("start");
    let theirs = "mkdir /page/db && echo x >/page/db/rows && chmod 700 /page/db";
    docker(&["exec", &story.install, "bash", "-c", theirs]);

    story.as_somebody("uninstall");

    let told = story.folder.read("told");
    let (kept_in, note) = told.split_once('\n').expect("two lines");
    let folder = story.files();
    assert_eq!(kept_in, format!("Some({:?})", folder.display().to_string()));
    assert!(note.contains("belongs to users of the app's containers"), "{note}");
    assert!(
        note.contains(&format!("remove the folder as root, such as with `rm -r {}`", folder.display())),
        "{note}"
    );
    // All else is gone: its containers, and its files with the passwords.
    assert_eq!((story.scope.containers(), story.volumes()), (vec![], vec![]));
    let left: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["page"]);
    let house = story.place.open().await;
    assert_eq!(house.homelab.marketplace.installed(&ann()).await.expect("a list"), []);
    house.end().await;
}

/// Not a test of its own: the part of the child in the tests above. Alone, it makes an install, unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_does_something_with_an_app() {
    let own = TempDir::shared();
    let folder = text(FOLDER).map_or_else(|| own.path().to_owned(), PathBuf::from);
    let compose = if text(PLUGIN).is_some() { Compose::Plugin } else { Compose::Standalone };
    let install = text(INSTALL).unwrap_or_else(|| "test-alone".to_owned());
    let place = Place { compose, programs: Some(folder.join("programs")), ..Place::at(&folder) };
    let house = place.open().await;
    let (market, which) = (house.homelab.marketplace.clone(), Which::named(&install));

    match text(DEED).as_deref().unwrap_or("create") {
        "create" => drop(market.create(&ann(), new_page(&install)).await.expect("it is made")),
        "start" => drop(market.start(&ann(), &which).await.expect("a start")),
        "update" => drop(market.update(&ann(), &which, BTreeMap::new(), false).await.expect("an update")),
        "uninstall" => {
            let gone = market.uninstall(&ann(), &which, true).await.expect("it is gone");
            let told = format!("{:?}\n{}", gone.data_kept_in, gone.note.unwrap_or_default());
            std::fs::write(folder.join("told"), told).expect("written");
        }
        other => panic!("what is {other}?"),
    }
    house.end().await;
}

#[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
