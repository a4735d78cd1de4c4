//! The mirror of an Engine that hangs, lies, forgets and floods.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use claw_docker::{ContainerEntry, DockerError, Mirror, MirrorPace};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::lab::{Fake, PATIENCE, answer, begin};

/// An Engine that has what it is told to have, and tells what it is told to tell.
struct Engine {
    containers: Mutex<BTreeMap<String, Value>>,
    events: broadcast::Sender<Vec<u8>>,
    hangs: watch::Sender<bool>,
    /// Which container cannot be looked into.
    broken: Mutex<Option<String>>,
    lists: AtomicUsize,
    looks: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// Ends the connections of those who listen.
const CUT: &[u8] = b"cut";

fn id(number: usize) -> String {
    format!("{number:064x}")
}

impl Engine {
    fn start() -> (Arc<Self>, Fake) {
        let engine = Arc::new(Self {
            containers: Mutex::default(),
            events: broadcast::Sender::new(4096),
            hangs: watch::Sender::new(false),
            broken: Mutex::default(),
            lists: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            requests: Mutex::default(),
        });
        let served = Arc::clone(&engine);
        let fake = Fake::start(move |line, stream| {
            let served = Arc::clone(&served);
            async move { served.serve(line, stream).await }
        });
        (engine, fake)
    }

    fn set(&self, number: usize, name: &str, state: &str) {
        let container = json!({
            "Id": id(number), "Name": format!("/{name}"), "Created": "2026-11-21T10:00:00Z",
            "State": {"Status": state, "StartedAt": "2026-11-21T10:00:00Z"},
            "Config": {"Image": "image:1", "Labels": {"number": number.to_string()}},
        });
        self.containers.lock().expect("whole").insert(id(number), container);
    }

    fn tell(&self, number: usize, action: &str) {
        let event =
            json!({"Type": "container", "Action": action, "Actor": {"ID": id(number)}, "timeNano": 1});
        self.say(format!("{event}\n"));
    }

    fn say(&self, bytes: impl Into<Vec<u8>>) {
        self.events.send(bytes.into()).expect("somebody listens");
    }

    async fn serve(&self, line: String, mut stream: UnixStream) -> std::io::Result<()> {
        self.requests.lock().expect("whole").push(line.clone());
        self.hangs.subscribe().wait_for(|hangs| !hangs).await.expect("the test goes on");
        let path = line.split(['?', ' ']).nth(1).unwrap_or_default();
        let (status, body) = match path {
            "/events" => return self.send_events(stream).await,
            "/_ping" => ("200 OK", "OK".to_owned()),
            "/images/json" => ("200 OK", "[]".to_owned()),
            "/containers/json" => {
                self.lists.fetch_add(1, SeqCst);
                ("200 OK", self.list())
            }
            _ => {
                self.looks.fetch_add(1, SeqCst);
                let wanted = path.trim_start_matches("/containers/").trim_end_matches("/json");
                let containers = self.containers.lock().expect("whole");
                match containers.get(wanted) {
                    _ if self.broken.lock().expect("whole").as_deref() == Some(wanted) => {
                        ("500 Oh", r#"{"message":"cannot look"}"#.to_owned())
                    }
                    Some(container) => ("200 OK", container.to_string()),
                    None => ("404 Not Found", r#"{"message":"No such container"}"#.to_owned()),
                }
            }
        };
        answer(&mut stream, status, body.as_bytes()).await
    }

    fn list(&self) -> String {
        let containers = self.containers.lock().expect("whole");
        let listed = containers.values().map(|container| {
            json!({
                "Id": container["Id"], "Names": [container["Name"]], "Image": container["Config"]["Image"],
                "State": container["State"]["Status"], "Created": 1, "Labels": container["Config"]["Labels"],
            })
        });
        Value::Array(listed.collect()).to_string()
    }

    async fn send_events(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut events = self.events.subscribe();
        begin(&mut stream).await?;
        loop {
            match events.recv().await.expect("the test goes on") {
                event if event == CUT => return Ok(()),
                event => stream.write_all(&event).await?,
            }
        }
    }
}

/// Quick enough for a test.
fn pace() -> MirrorPace {
    MirrorPace {
        rest: Duration::from_millis(20),
        ping_every: Duration::from_millis(50),
        ping_limit: Duration::from_millis(300),
        pings_per_list: u32::MAX,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        ..MirrorPace::default()
    }
}

fn mirror_at(fake: &Fake, pace: MirrorPace) -> (Mirror, DropGuard) {
    let stop = CancellationToken::new();
    let (mirror, task) = Mirror::start_at(fake.docker(), stop.clone(), pace);
    tokio::spawn(task);
    (mirror, stop.drop_guard())
}

async fn until(mirror: &Mirror, expected: impl Fn(&Result<Arc<[ContainerEntry]>, DockerError>) -> bool) {
    let mut changed = mirror.changed();
    let waited = timeout(PATIENCE, async {
        while !expected(&mirror.containers().await) {
            changed.changed().await.expect("the mirror goes on");
        }
    });
    waited.await.expect("the mirror shows it");
}

fn shows(list: &Result<Arc<[ContainerEntry]>, DockerError>, name: &str, state: &str) -> bool {
    list.as_ref().is_ok_and(|list| list.iter().any(|entry| entry.name == name && entry.state == state))
}

#[tokio::test]
async fn c1_c2_lists_ask_nothing_and_a_change_is_one_look_at_one_container() {
    let (engine, fake) = Engine::start();
    for number in 0..200 {
        engine.set(number, &format!("c{number}"), "running");
    }
    let (mirror, _stop) = mirror_at(&fake, pace());
    assert_eq!(mirror.containers().await.expect("an Engine").len(), 200);
    assert_eq!((engine.lists.load(SeqCst), engine.looks.load(SeqCst)), (1, 200));

    for number in 0..200 {
        assert_eq!(mirror.containers().await.expect("an Engine").len(), 200);
        mirror.find(&format!("c{number}")).await.expect("an Engine").expect("found");
    }
    engine.set(7, "c7", "exited");
    engine.tell(7, "die");
    until(&mirror, |list| shows(list, "c7", "exited")).await;

    assert_eq!((engine.lists.load(SeqCst), engine.looks.load(SeqCst)), (1, 201));
}

#[tokio::test]
async fn t32_a_storm_of_events_is_few_looks_and_the_last_state_is_shown() {
    let (engine, fake) = Engine::start();
    engine.set(1, "busy", "running");
    let (mirror, _stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    for _ in 0..2000 {
        engine.tell(1, "start");
    }
    engine.set(1, "busy", "exited");
    engine.tell(1, "die");
    until(&mirror, |list| shows(list, "busy", "exited")).await;

    let looks = engine.looks.load(SeqCst);
    assert!(looks < 200, "{looks} looks for 2,001 events");
}

#[tokio::test]
async fn what_happens_while_the_mirror_begins_is_asked_for_by_the_engines_clock() {
    let (engine, fake) = Engine::start();
    let (mirror, _stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    let requests = engine.requests.lock().expect("whole").clone();
    assert_eq!(requests[..3], ["GET /_ping", "GET /events?since=1795255200", "GET /containers/json?all=1"]);
}

#[tokio::test]
async fn an_engine_that_hangs_is_noticed_and_no_old_list_is_given_out() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "running");
    let (mirror, _stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    engine.hangs.send_replace(true);
    until(&mirror, |list| list.as_ref().is_err_and(DockerError::is_unavailable)).await;
    assert!(mirror.images().await.is_err() && mirror.find("one").await.is_err());
    engine.set(1, "one", "exited");
    engine.hangs.send_replace(false);

    until(&mirror, |list| shows(list, "one", "exited")).await;
}

#[tokio::test]
async fn events_that_cannot_be_read_or_end_are_a_gap_after_which_everything_is_looked_at() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "running");
    let (mirror, _stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    for (number, gap) in [
        (1, CUT.to_vec()),
        (2, b"no event\n".to_vec()),
        (3, b"{\"Type\":7}\n".to_vec()),
        (4, b"\xff\xff\n".to_vec()),
        (5, vec![b'x'; 3 << 20]),
    ] {
        let lists = engine.lists.load(SeqCst);
        engine.set(1, &format!("after-{number}"), "running");
        engine.say(gap);
        until(&mirror, |list| shows(list, &format!("after-{number}"), "running")).await;
        assert!(engine.lists.load(SeqCst) > lists);
    }
}

#[tokio::test]
async fn t32_an_engine_whose_events_always_end_at_once_is_not_asked_without_pause() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let fake = Fake::start(move |line, mut stream| {
        let lists = Arc::clone(&counted);
        async move {
            if line.starts_with("GET /events") {
                return begin(&mut stream).await;
            }
            if line.starts_with("GET /containers/json") {
                lists.fetch_add(1, SeqCst);
            }
            answer(&mut stream, "200 OK", b"[]").await
        }
    });
    let pauses = MirrorPace { first_pause: Duration::from_millis(100), ..MirrorPace::default() };
    let (mirror, _stop) = mirror_at(&fake, pauses);
    let mut changed = mirror.changed();

    let began = std::time::Instant::now();
    for _ in 0..6 {
        timeout(PATIENCE, changed.changed()).await.expect("it is tried again").expect("the mirror goes on");
    }

    // Each pause is twice the one before: there cannot have been more looks than that.
    let most = 2 + (began.elapsed().as_millis() / 100).max(1).ilog2();
    assert!(lists.load(SeqCst) <= most as usize + 1, "{} looks", lists.load(SeqCst));
}

#[tokio::test]
async fn what_no_event_told_is_found_by_comparing_the_list() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "running");
    engine.set(2, "two", "running");
    let (mirror, _stop) = mirror_at(&fake, MirrorPace { pings_per_list: 1, ..pace() });
    mirror.containers().await.expect("an Engine");

    engine.set(1, "one", "exited");
    engine.set(3, "three", "running");
    engine.containers.lock().expect("whole").remove(&id(2));

    until(&mirror, |list| shows(list, "one", "exited") && shows(list, "three", "running")).await;
    until(&mirror, |list| !shows(list, "two", "running")).await;
}

#[tokio::test]
async fn a_container_that_cannot_be_looked_into_hides_no_other() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "running");
    engine.set(2, "two", "weird-new-state");
    *engine.broken.lock().expect("whole") = Some(id(2));

    let (mirror, _stop) = mirror_at(&fake, pace());
    until(&mirror, |list| shows(list, "one", "running") && shows(list, "two", "weird-new-state")).await;
    engine.set(2, "two", "exited");
    engine.tell(2, "die");

    until(&mirror, |list| shows(list, "two", "exited")).await;
}

#[tokio::test]
async fn events_of_pods_and_of_many_are_understood() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "exited");
    let (mirror, _stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    engine.say("{\"Type\":\"pod\",\"Action\":\"create\",\"status\":\"x\",\"Actor\":{\"ID\":\"p\"}}\n\n\r\n");
    engine.containers.lock().expect("whole").clear();
    engine.say("{\"Type\":\"container\",\"Action\":\"prune\",\"Actor\":{\"ID\":\"\",\"Attributes\":{\"reclaimed\":\"0\"}}}\n");

    until(&mirror, |list| list.as_ref().is_ok_and(|list| list.is_empty())).await;
}

#[tokio::test]
async fn a_mirror_that_is_stopped_shows_nothing_more() {
    let (engine, fake) = Engine::start();
    engine.set(1, "one", "running");
    let (mirror, stop) = mirror_at(&fake, pace());
    mirror.containers().await.expect("an Engine");

    drop(stop);

    until(&mirror, |list| list.is_err()).await;
    mirror.settled(&id(1)).await;
}

#[tokio::test(start_paused = true)]
async fn t32_nobody_waits_for_ever_for_an_engine_that_says_nothing() {
    let (engine, fake) = Engine::start();
    engine.hangs.send_replace(true);
    let slow = MirrorPace { ping_limit: Duration::from_secs(3600), ..pace() };
    let (mirror, _stop) = mirror_at(&fake, slow);

    let error = mirror.containers().await.expect_err("nothing to show");
    mirror.settled(&id(1)).await;

    assert!(error.is_unavailable() && error.to_string().contains("no answer within 10 s"), "{error}");
}
