//! The process dies at every point of a write, of a migration and of closing, again and again on the same file.
//!
//! A child process, which is this test program again, uses the store with several actors at the same time and tells
//! over a pipe what it begins and what was acknowledged. It kills itself at a point that the seed chose. The parent then
//! opens the store: everything acknowledged is there exactly once, what was not acknowledged is there whole or not at
//! all, and all sums, counts, lists and chains agree with that.
//!
//! `CLAW_CRASH_RUNS` sets how many children die in all, `CLAW_CRASH_SEED` repeats a run.

mod child;
mod look;
mod model;
mod protocol;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
};

use claw_core::{JobId, JobStatus};
use claw_store::Store;
use rusqlite::Connection;

use self::{
    look::look,
    model::ModelActor,
    protocol::{Deed, Line, Random},
};
use crate::{
    child::{command, folder},
    setting::{now, open},
};

/// Actors that use the store at the same time.
pub(crate) const ACTORS: usize = 4;

/// Lives of children in an ordinary run of the suite, and how many of them share one file.
const LIVES: u64 = 600;
const LIVES_OF_A_FILE: u64 = 12;

/// Files that are worked on at the same time.
const LANES: u64 = 3;

const CHILD: &str = "crashes::the_child_uses_the_store_until_it_dies";
const SEED: &str = "CLAW_STORE_TEST_SEED";

/// The points at which a child dies, and up to which time of passing it. A new file passes those of a migration.
const POINTS: [(&str, u64); 11] = [
    ("store.before_begin", 40),
    ("store.after_write", 60),
    ("store.before_commit", 40),
    ("store.after_commit", 40),
    ("store.before_answers", 40),
    ("store.after_answers", 40),
    ("any", 200),
    ("store.before_migration", 2),
    ("store.before_migration_commit", 2),
    ("store.after_migration", 2),
    ("store.before_checkpoint", 1),
];
const POINTS_OF_A_NEW_FILE: usize = 3;

/// How often children died at which point.
type Deaths = BTreeMap<&'static str, u64>;

#[test]
fn r5_r6_r9_a_crash_at_any_point_loses_nothing_acknowledged_and_doubles_nothing() {
    let lives = number("CLAW_CRASH_RUNS").unwrap_or(LIVES);
    let seed = number("CLAW_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("repeat with CLAW_CRASH_RUNS={lives} CLAW_CRASH_SEED={seed}");
    let files = lives.div_ceil(LIVES_OF_A_FILE);

    let mut deaths = Deaths::new();
    std::thread::scope(|scope| {
        let lane = |lane: u64| {
            let numbers = (lane..files).step_by(LANES as usize);
            move || numbers.map(|number| outlive(Random(seed ^ (number << 32)), number)).collect::<Vec<_>>()
        };
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(lane(number))).collect();
        for lane in lanes {
            for (point, count) in lane.join().expect("every file is whole").into_iter().flatten() {
                *deaths.entry(point).or_default() += count;
            }
        }
    });

    println!("deaths: {deaths:?}");
    let never: Vec<_> = POINTS.iter().filter(|(point, _)| !deaths.contains_key(point)).collect();
    assert!(never.is_empty() || lives < LIVES, "nobody died at {never:?}");
}

/// Not a test of its own: the part of the child in the test above. Does nothing in the ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_uses_the_store_until_it_dies() {
    let (Some(folder), Some(seed)) = (folder(), number(SEED)) else { return };
    child::live(&folder, seed).await;
}

/// Lets several children die on one file, and checks it after each.
fn outlive(mut random: Random, number: u64) -> Deaths {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut actors = vec![ModelActor::default(); ACTORS];
    let mut deaths = Deaths::new();
    for life in 0..LIVES_OF_A_FILE {
        let choice = number * LIVES_OF_A_FILE + life;
        let end = POINTS.len() - 1;
        let (point, passes) = match life {
            0..3 if number.is_multiple_of(2) => POINTS[end - POINTS_OF_A_NEW_FILE + life as usize],
            _ if choice % 20 == 19 => POINTS[end],
            _ => POINTS[(choice % 7) as usize],
        };
        let fault = format!("{point}:{}", 1 + random.below(passes));
        let unanswered = live(folder.path(), &fault, random.below(u64::MAX), &mut actors);
        if unanswered.died {
            *deaths.entry(point).or_default() += 1;
        }
        if point.ends_with("migration") || point.ends_with("migration_commit") {
            // The next child goes on where this one died; looking would do its work.
            continue;
        }
        runtime.block_on(check(folder.path(), &mut actors, &unanswered.deeds, &fault));
    }
    whole(folder.path());
    deaths
}

struct Ended {
    died: bool,
    /// What each actor began and nobody acknowledged.
    deeds: Vec<Option<Deed>>,
}

/// Runs a child until it dies or is done, taking in what it acknowledges.
fn live(folder: &Path, fault: &str, seed: u64, actors: &mut [ModelActor]) -> Ended {
    let mut child =
        command(CHILD, folder).env("CLAW_FAULT", fault).env(SEED, seed.to_string()).spawn().expect("a child");
    let mut deeds: Vec<Option<Deed>> = vec![None; ACTORS];
    let (mut ended, mut other) = (false, Vec::new());
    for text in BufReader::new(child.stdout.take().expect("piped")).split(b'\n') {
        let text = String::from_utf8_lossy(&text.expect("readable")).into_owned();
        match Line::read(&text) {
            Some(Line::Begin(actor, deed)) => deeds[actor] = Some(deed),
            Some(Line::Acknowledged { actor, claimed }) => {
                let deed = deeds[actor].take().expect("it was begun");
                actors[actor].take_in(&deed, claimed);
            }
            Some(Line::End) => ended = true,
            None => other.push(text),
        }
    }
    let status = child.wait().expect("it ended");
    let killed = status.signal() == Some(rustix::process::Signal::KILL.as_raw());
    assert!(killed || (ended && status.success()), "{fault}: {status}\n{}", other.join("\n"));
    Ended { died: killed, deeds }
}

/// Opens the store and compares it with what was acknowledged. What is there from then on is what the model holds.
async fn check(folder: &Path, actors: &mut [ModelActor], unanswered: &[Option<Deed>], fault: &str) {
    let opened = open(&folder.join("store.db"));
    let store = opened.store();
    let deleting: Vec<_> = unanswered.iter().map(deleting).collect();
    let seen = look(&store, &deleting).await;
    for (number, (actor, seen)) in actors.iter_mut().zip(&seen).enumerate() {
        let deed = unanswered[number].as_ref();
        if !actor.possible(deed).contains(seen) {
            panic!("after {fault}, actor {number}, begun {deed:?}:\nknown {actor:#?}\nfound {seen:#?}");
        }
        actor.clone_from(seen);
    }
    finish_deletions(&store, actors, &deleting).await;
    free_what_ran(&store, actors).await;
    assert_eq!(look(&store, &[None; ACTORS]).await, actors, "after {fault} and the clean-up");
    opened.close().await;
}

fn deleting(deed: &Option<Deed>) -> Option<JobId> {
    match deed {
        Some(Deed::Delete(id)) => Some(*id),
        _ => None,
    }
}

/// A deletion that broke off goes on when it is asked for again.
async fn finish_deletions(store: &Store, actors: &mut [ModelActor], deleting: &[Option<JobId>]) {
    for (actor, id) in actors.iter_mut().zip(deleting) {
        if let Some(id) = id.filter(|id| actor.jobs.get(id).is_some_and(|job| !job.is_deleted)) {
            store.jobs.delete(id).await.expect("it goes on");
            actor.take_in(&Deed::Delete(id), None);
        }
    }
}

/// Every job whose holder died is found and free again, as when a server starts: none is held by nobody.
async fn free_what_ran(store: &Store, actors: &mut [ModelActor]) {
    let jobs = || actors.iter().flat_map(|actor| &actor.jobs);
    let mut ran: Vec<_> =
        jobs().filter(|(_, job)| job.status == JobStatus::Running).map(|(id, _)| *id).collect();
    let lapsed = store.jobs.lapse(&["host-child-".into()], u32::MAX, now()).await.expect("works");
    let mut freed: Vec<_> = lapsed.iter().map(|lapsed| lapsed.job.id).collect();
    ran.sort();
    freed.sort();
    assert_eq!(freed, ran);
    actors.iter_mut().flat_map(|actor| actor.jobs.values_mut()).for_each(model::ModelJob::lapse);
}

/// SQLite itself finds nothing wrong with the file.
fn whole(folder: &Path) {
    let connection = Connection::open(folder.join("store.db")).expect("a database");
    let verdict: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(verdict, "ok");
}

#[expect(clippy::disallowed_methods, reason = "tells a test how long to run, and a child what to do")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
