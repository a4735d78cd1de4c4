//! The homelab: containers, images, templates, the marketplace, and what everybody does.
//!
//! Every use case takes the [`claw_core::Actor`] who asks, and goes through the gate: reads are permitted, changes are
//! performed on the record. Names are resolved to full ids before anything is judged, what belongs to ClawMachine itself
//! is out of reach, and a container is only made from what the policy approved. Work goes on when whoever asked for it
//! hangs up.
//!
//! This crate knows no HTTP: paths, bodies' shapes and status codes are the server's, except for the description of a
//! container, which several doors read ([`container_wish`]).

mod activity;
pub mod compose;
mod containers;
#[cfg(feature = "corpus")]
pub mod corpus;
mod creators;
mod error;
mod images;
pub mod marketplace;
mod masking;
mod protection;
mod pulls;
mod request;
mod system;
mod templates;
mod work;

use std::{path::PathBuf, sync::Arc};

use claw_core::{Clock, Timestamp};
use claw_docker::{
    Docker, Mirror,
    policy::{Own, Policy},
};
use claw_gate::Gate;
use claw_store::Store;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use activity::{
    Activity, ActivityCounts, ActivityFilter, ActivityPage, ApiCall, Event, EventKind, EventStatus, Feed,
    Frame, INVALID_KEY, MAX_EVENTS, NewEvent, UNAUTHENTICATED,
};
pub use containers::{ContainerConfig, Containers, ExecOutcome, LogsRequest};
pub use creators::Creator;
pub use error::HomelabError;
pub use images::Images;
pub use masking::MASK;
pub use pulls::{PullState, PullView};
pub use request::{MAX_REQUEST_BYTES, container_wish};
pub use system::{Metrics, Summary, System, SystemInfo};
pub use templates::{Deployed, SavedTemplate, Templates};

use creators::Creators;
use marketplace::{Marketplace, MarketplaceConfig, MarketplaceParts};
use protection::Protection;
use pulls::Pulls;
use work::Work;

/// What the homelab is made of.
pub struct HomelabParts {
    /// The Engine.
    pub docker: Docker,
    /// What runs there, kept current; its task is the caller's.
    pub mirror: Mirror,
    /// Who may do what.
    pub gate: Gate,
    /// Where everything durable is.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What may be created.
    pub policy: Policy,
    /// What is ours.
    pub own: Own,
    /// Images that nobody removes from here, such as the sandbox's.
    pub own_images: Vec<String>,
    /// Our folder, to tell how full its disk is where the Engine's own folder cannot be seen.
    pub data_dir: PathBuf,
    /// Events of the activity feed that are kept.
    pub activity_keep: u64,
    /// Where apps come from and go to.
    pub marketplace: MarketplaceConfig,
}

/// Everything that the homelab does. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Homelab {
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: Images,
    /// The machine and its Engine.
    pub system: System,
    /// Saved descriptions of containers.
    pub templates: Templates,
    /// What everybody does.
    pub activity: Activity,
    /// Apps.
    pub marketplace: Marketplace,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One container is judged and made at a time.
pub(crate) type Making = Arc<tokio::sync::Mutex<()>>;

/// What the use cases share.
pub(crate) struct Core {
    pub(crate) docker: Docker,
    pub(crate) mirror: Mirror,
    pub(crate) gate: Gate,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    pub(crate) own: Arc<Own>,
    pub(crate) own_images: Vec<String>,
    pub(crate) activity: Activity,
    pub(crate) protection: Protection,
    pub(crate) creators: Creators,
    pub(crate) pulls: Pulls,
    pub(crate) work: Work,
    /// Held while a container is judged and made, at every door.
    pub(crate) making: Making,
    pub(crate) marketplace: Marketplace,
    /// Room for programs that are run in containers.
    pub(crate) execs: Semaphore,
    /// Ends what nobody should wait for when the server stops.
    pub(crate) stop: CancellationToken,
}

impl Homelab {
    /// Puts the homelab together and begins what goes on behind it. Must be called inside the runtime.
    pub fn new(parts: HomelabParts) -> Self {
        let HomelabParts {
            docker,
            mirror,
            gate,
            store,
            clock,
            policy,
            own,
            own_images,
            data_dir,
            activity_keep,
            marketplace,
        } = parts;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let activity =
            Activity::start(gate.clone(), store.clone(), Arc::clone(&clock), activity_keep, &tasks, &stop);
        let own = Arc::new(own);
        let protection = Protection::new(Arc::clone(&own), Arc::clone(&store.documents));
        tasks.spawn(protection.clone().watch(mirror.clone(), stop.clone()));
        let work = Work::on(tasks.clone());
        let making = Making::default();
        let marketplace = Marketplace::new(MarketplaceParts {
            docker: docker.clone(),
            mirror: mirror.clone(),
            gate: gate.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            policy: policy.clone(),
            own: Arc::clone(&own),
            activity: activity.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            making: Arc::clone(&making),
            config: marketplace,
        });
        let own_clock = Arc::clone(&clock);
        let core = Arc::new(Core {
            pulls: Pulls::new(stop.clone()),
            creators: Creators::new(Arc::clone(&store.documents)),
            docker,
            mirror,
            gate,
            store,
            clock,
            policy,
            own,
            own_images,
            activity: activity.clone(),
            protection,
            work,
            making,
            marketplace: marketplace.clone(),
            execs: Semaphore::new(containers::MAX_AT_A_TIME),
            stop: stop.clone(),
        });
        Self {
            containers: Containers::new(Arc::clone(&core)),
            images: Images::new(Arc::clone(&core)),
            system: System::new(Arc::clone(&core), data_dir),
            templates: Templates::new(core),
            activity,
            marketplace,
            clock: own_clock,
            tasks,
            stop,
        }
    }

    /// Returns the time now, by which lists tell how long things have been as they are.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends what goes on behind the homelab: pulls end, other work that was begun is done to its end, and the feed is
    /// written down.
    pub async fn settle(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
