//! The one table of attempts, at every door: each is refused, by the same rule wherever it is understood, and nothing
//! of it reaches the Engine.

mod between;
mod doors;
mod paper;

use std::collections::{BTreeMap, BTreeSet};

use claw_docker::policy::{
    ContainerWish, MountWishSource, Policy,
    corpus::{Attempt, attempts, world::plain},
};
use claw_homelab::corpus::{
    Body, Doc, File, JsonForm, YamlForm, bodies, compose, files, json, with_variables,
};
use futures_util::StreamExt as _;

use self::{
    doors::{Catalogs, Door, Knock, Reused, TEMPLATE, knock},
    paper::Host,
};
use crate::lab::{Answer, Lab, Options};

/// Requests at a time.
const AT_A_TIME: usize = 16;

/// What only a host on paper can be like: a volume that the Engine does not tell about, a device among the apps' files.
const ON_PAPER: [&str; 2] =
    ["mounts.volume-unseen: not-looked-at", "mounts.special: /home/me/.wagmios/containers/sda"];

/// Names that are somebody's only because of the container that the server runs in.
const BESIDE_OURS: [&str; 4] =
    ["name.protected: homelab", "name.protected: HomeLab", "name.like-id: fade", "name.like-id: FADE01"];

/// One attempt at one door.
struct Case {
    name: String,
    door: Door,
    knock: Knock,
    /// A part of the answer; any of them.
    because: Vec<String>,
}

/// Puts an attempt's wish on a host that is there.
fn placed(host: &Host, attempt: &Attempt) -> ContainerWish {
    let mut wish = attempt.wish.clone();
    for mount in &mut wish.mounts {
        if let MountWishSource::Bind(source) = &mut mount.source {
            *source = host.moved(source);
        }
    }
    wish
}

/// Says a wish in the words of a door; `None` if it has none for it.
fn said(door: Door, number: usize, wish: &ContainerWish) -> Option<(Knock, Vec<&'static str>)> {
    let mut name = wish.name.clone();
    let mut values = BTreeMap::new();
    let Doc { text, members } = match door {
        Door::Create => json(wish, JsonForm::Promised)?,
        Door::CreateWritten => json(wish, JsonForm::Written)?,
        Door::Template => {
            // The name of the template; that of the container is said at its deployment.
            let template = ContainerWish { name: Some(TEMPLATE.to_owned()), ..wish.clone() };
            json(&template, JsonForm::Promised)?
        }
        Door::TemplateCompose => compose(wish, YamlForm::Short)?,
        Door::TemplateSeveral => {
            let name = name.take().filter(|name| plain().name.as_ref() != Some(name));
            beside_another(compose(&ContainerWish { name, ..wish.clone() }, YamlForm::Long)?)
        }
        Door::Edited => {
            let name = name.take().filter(|name| plain().name.as_ref() != Some(name));
            compose(&ContainerWish { name, ..wish.clone() }, YamlForm::Long)?
        }
        Door::Catalog | Door::Remote => {
            let form = if door == Door::Catalog { YamlForm::Short } else { YamlForm::Long };
            // Installs name their containers themselves, or are told how.
            name = name.take().filter(|name| plain().name.as_ref() != Some(name));
            compose(&ContainerWish { name: None, ..wish.clone() }, form)?
        }
        Door::Variables => {
            name = name.filter(|name| plain().name.as_ref() != Some(name));
            let file = compose(&ContainerWish { name: None, ..wish.clone() }, YamlForm::Long)?;
            let (file, given) = with_variables(&file)?;
            values = given;
            file
        }
    };
    Some((Knock { number, text: text.into_bytes(), name, values }, members))
}

/// Puts a harmless service beside that of a compose file.
fn beside_another(file: Doc) -> Doc {
    let mut read: serde_json::Value = serde_json::from_str(&file.text).expect("JSON is YAML");
    read["services"]["beside"] = serde_json::json!({ "image": "nginx:1.29" });
    Doc { text: read.to_string(), members: file.members }
}

/// Makes the cases of an attempt.
fn cases(host: &Host, number: usize, attempt: &Attempt) -> Vec<Case> {
    let wish = placed(host, attempt);
    let case = |door: Door| {
        // Installs get free ports instead of taken ones, and what is ours is taken.
        let is_new = matches!(door, Door::Catalog | Door::Remote | Door::Variables);
        let is_moved = is_new && attempt.rule.starts_with("ports.");
        // The two forms of JSON differ in how they write these.
        let is_same = door == Door::CreateWritten && wish.environment.is_empty() && wish.ports.is_empty();
        if is_moved || is_same || is_harmless(door, attempt) {
            return None;
        }
        let (knock, members) = said(door, number, &wish)?;
        let mut because = vec![format!("({})", attempt.rule)];
        // What cannot even be read is an error that names its place.
        because.extend(members.iter().flat_map(|member| named(member)));
        if attempt.rule.starts_with("mounts.") {
            because.extend(mounts_said_otherwise(host, door, attempt, &wish));
        }
        if attempt.rule == "wish.size" {
            because.extend(["larger than".to_owned(), "at most".to_owned(), "are the most".to_owned()]);
            because.extend(["more than 200 members".to_owned(), "8192 bytes".to_owned()]);
        }
        Some(Case { name: attempt.name.clone(), door, knock, because })
    };
    Door::ALL.into_iter().filter_map(case).collect()
}

/// Tells whether the same words ask for something else at a door, which may be had.
fn is_harmless(door: Door, attempt: &Attempt) -> bool {
    let is_short = matches!(door, Door::TemplateCompose | Door::Catalog);
    match attempt.name.as_str() {
        // A folder of the install's own.
        "mounts.path: ./config" => door.is_market(),
        // Says what holds anyway.
        "mounts.propagation: cached" => is_short,
        // The variable `A` with an equals sign in its value.
        "environment.form: A=B" => is_short,
        _ => false,
    }
}

/// How an error of reading names a member.
fn named(member: &str) -> Vec<String> {
    let mut ways = vec![
        format!("`{member}`"),
        format!("services.web.{member}"),
        format!("{member}."),
        // A value of a variable that no file takes.
        "the value of `V".to_owned(),
        "does not belong into a compose file".to_owned(),
        "a member's name must be on one line".to_owned(),
    ];
    ways.extend(
        match member {
            "name" | "container_name" => {
                &["is not a name for a container", "`container_name` has", "there is a container `"][..]
            }
            "image" => &["is not an image"],
            "env" | "environment" => &["variable `"],
            "volumes" => &["is no place in a container"],
            "cpus" => &["the number ", "this is no JSON"],
            "memory_bytes" => &["the number "],
            _ => &[],
        }
        .iter()
        .map(|&way| way.to_owned()),
    );
    ways
}

/// Other rules for the same mount, where a door or a host cannot see what the paper says.
fn mounts_said_otherwise(host: &Host, door: Door, attempt: &Attempt, wish: &ContainerWish) -> Vec<String> {
    let mut ways = Vec::new();
    for mount in &wish.mounts {
        match &mount.source {
            // The folder with the host in it is ours, and whatever holds it.
            MountWishSource::Bind(source) if host.is_below(source) => {
                ways.push("(mounts.own-folder)".to_owned())
            }
            // In JSON a name that is none is a path.
            MountWishSource::Volume { .. } if attempt.rule == "mounts.volume-name" => {
                ways.push("(mounts.".to_owned());
            }
            _ => {}
        }
    }
    // Paths that begin with a dot are below the install's own folder, or nothing.
    if Door::is_market(door) && attempt.rule == "mounts.path" {
        ways.push("below the app's own".to_owned());
    }
    ways
}

/// A lab over the host.
async fn lab(host: &Host, own: claw_docker::policy::Own, policy: &str, catalogs: &Catalogs) -> Lab {
    let policy = ["/home/me", "/srv"].iter().fold(policy.to_owned(), |text, start| {
        text.replace(&format!("'{start}"), &format!("'{}", host.moved(start)))
    });
    let options = Options {
        docker: Some(host.docker()),
        own,
        policy: Policy::parse(&policy).expect("readable"),
        catalog: Some(catalogs.catalog.clone()),
        // There is nothing to run: what is permitted ends with another error, and says so.
        programs: "/nonexistent",
        ..Options::default()
    };
    Lab::with(options).await
}

/// Tries the cases and returns what is wrong with the answers.
async fn tried(host: &Host, lab: &Lab, cases: &[Case]) -> Vec<String> {
    let reused = Reused::new(lab, 4).await;
    let try_one = async |case: &Case| {
        let answer = knock(lab, &reused, case.door, &case.knock).await;
        wrong_with(case, &answer)
    };
    let answers = futures_util::stream::iter(cases).map(try_one).buffer_unordered(AT_A_TIME);
    let mut wrong: Vec<String> = answers.filter_map(async |wrong| wrong).collect().await;
    let told = host.told();
    if !told.is_empty() {
        wrong.push(format!("the Engine was told: {told:?}"));
    }
    wrong
}

fn wrong_with(case: &Case, answer: &Answer) -> Option<String> {
    let text = answer.text();
    let tell =
        |what: &str| Some(format!("{} at {:?}: {what}: {} {text}", case.name, case.door, answer.status));
    if !answer.status.is_client_error() {
        return tell("NOT REFUSED");
    }
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    if !case.because.iter().any(|part| message.contains(part)) {
        return tell(&format!("not for one of {:?}", case.because));
    }
    None
}

/// Gives a template the name that it is saved by.
fn named_like(door: Door, body: &[u8]) -> Vec<u8> {
    match (door, String::from_utf8(body.to_vec())) {
        (Door::Template, Ok(text)) => {
            text.replacen(r#""name":"web""#, &format!(r#""name":"{TEMPLATE}""#), 1).into_bytes()
        }
        _ => body.to_vec(),
    }
}

fn report(tried: usize, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_t2_t3_t4_t5_t7_t8_every_attempt_is_refused_at_every_door_by_its_rule() {
    let host = Host::new();
    let mut by_policy: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    let mut at_doors: BTreeMap<Door, usize> = BTreeMap::new();
    for (number, attempt) in attempts().iter().enumerate() {
        if ON_PAPER.contains(&attempt.name.as_str()) || BESIDE_OURS.contains(&attempt.name.as_str()) {
            continue;
        }
        for case in cases(&host, number, attempt) {
            *at_doors.entry(case.door).or_default() += 1;
            by_policy.entry(attempt.policy).or_default().push(case);
        }
    }
    // Every door has words for most of them.
    let few = |door: Door| if door == Door::CreateWritten { 20 } else { 500 };
    assert!(Door::ALL.iter().all(|door| at_doors[door] >= few(*door)), "{at_doors:?}");
    let (mut total, mut wrong) = (0, Vec::new());
    for (policy, cases) in by_policy {
        let knocks: Vec<_> = cases.iter().map(|case| (case.door, case.knock.clone())).collect();
        let catalogs = Catalogs::new(&knocks).await;
        let lab = lab(&host, host.own(), policy, &catalogs).await;
        wrong.extend(tried(&host, &lab, &cases).await);
        total += cases.len();
    }

    report(total, &wrong);
}

#[tokio::test]
async fn t8_names_that_belong_to_the_container_around_the_server_are_refused_at_every_door() {
    let host = Host::new();
    let attempts = attempts();
    let chosen =
        attempts.iter().enumerate().filter(|(_, attempt)| BESIDE_OURS.contains(&attempt.name.as_str()));
    let cases: Vec<_> = chosen.flat_map(|(number, attempt)| cases(&host, number, attempt)).collect();
    assert_eq!(cases.len(), BESIDE_OURS.len() * (Door::ALL.len() - 1));
    let knocks: Vec<_> = cases.iter().map(|case| (case.door, case.knock.clone())).collect();
    let catalogs = Catalogs::new(&knocks).await;
    let lab = lab(&host, host.own_in_container(), "", &catalogs).await;

    let wrong = tried(&host, &lab, &cases).await;

    report(cases.len(), &wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t6_no_body_with_two_meanings_makes_a_container() {
    let host = Host::new();
    let doors = [Door::Create, Door::Template];
    let case = |door: Door, number: usize, body: &Body| Case {
        name: body.name.to_owned(),
        door,
        knock: Knock { number, text: named_like(door, &body.bytes), name: None, values: BTreeMap::new() },
        because: vec![body.because.to_owned()],
    };
    let bodies = bodies();
    let cases: Vec<_> = bodies
        .iter()
        .enumerate()
        .flat_map(|(number, body)| doors.map(|door| case(door, number, body)))
        .collect();
    let catalogs = Catalogs::new(&[]).await;
    let lab = lab(&host, host.own(), "", &catalogs).await;

    let wrong = tried(&host, &lab, &cases).await;

    report(cases.len(), &wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_no_compose_file_gets_more_at_any_door_that_takes_one() {
    let host = Host::new();
    let doors = [Door::TemplateCompose, Door::Catalog, Door::Remote, Door::Edited];
    let case = |door: Door, number: usize, file: &File| {
        // New installs get names and ports that nobody has, whatever the catalog says.
        let is_chosen = file.text.contains("container_name:") || file.because == "(ports.";
        let mut because = vec![file.because.to_owned()];
        if door == Door::TemplateCompose && file.because == "below the app's own" {
            // A template has no folder of its own.
            because.push("(mounts.path)".to_owned());
        }
        if door == Door::Edited && file.because == "(name." {
            because.push("`container_name` has".to_owned());
        }
        let knock =
            Knock { number, text: file.text.clone().into_bytes(), name: None, values: BTreeMap::new() };
        let is_new = matches!(door, Door::Catalog | Door::Remote);
        (!is_new || !is_chosen).then(|| Case { name: file.name.to_owned(), door, knock, because })
    };
    let files = files();
    let cases: Vec<_> = files
        .iter()
        .enumerate()
        .flat_map(|(number, file)| doors.map(|door| case(door, number, file)))
        .flatten()
        .collect();
    let knocks: Vec<_> = cases.iter().map(|case| (case.door, case.knock.clone())).collect();
    let catalogs = Catalogs::new(&knocks).await;
    let lab = lab(&host, host.own(), "", &catalogs).await;

    let wrong = tried(&host, &lab, &cases).await;

    report(cases.len(), &wrong);
}

#[tokio::test]
async fn a_plain_container_passes_every_door_in_the_same_words() {
    let host = Host::new();
    let mut wish = plain();
    wish.mounts =
        vec![claw_docker::policy::corpus::world::bind(&host.moved("/home/me/.wagmios/containers/new"))];
    wish.cap_drop = vec!["ALL".to_owned()];
    wish.labels = [("a".to_owned(), "b".to_owned())].into();
    wish.environment = vec![("A".to_owned(), "1".to_owned())];
    let knocks: Vec<_> = Door::ALL
        .into_iter()
        .enumerate()
        .map(|(number, door)| {
            let name = Some(format!("web-{number}"));
            let (knock, _) = said(door, number, &ContainerWish { name, ..wish.clone() }).expect("words");
            (door, knock)
        })
        .collect();
    let catalogs = Catalogs::new(&knocks).await;
    let lab = lab(&host, host.own(), "", &catalogs).await;
    let reused = Reused::new(&lab, 1).await;

    let mut made = BTreeSet::new();
    for (door, one) in &knocks {
        let answer = knock(&lab, &reused, *door, one).await;
        if matches!(door, Door::Edited | Door::TemplateSeveral) {
            // The last thing that is asked is Compose, which is not there.
            answer.assert_enveloped(502, "COMPOSE_UP_FAILED");
        } else {
            answer.data();
        }
        made.extend(host.told().into_iter().filter(|told| told.contains("/create")));
    }

    assert_eq!(made.len(), 4, "{made:?}");
}
