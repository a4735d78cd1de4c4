//! What may be created on Docker.
//!
//! Whoever asks, and by whatever door, the request becomes a [`ContainerWish`]: a closed model in which everything that
//! has no field cannot be asked for. [`Policy::judge`] looks at the state that would result, defaults filled in, and
//! answers [`Approved`], the only thing a container is made from, or [`Refused`], which names every rule that was
//! broken. The judgement is a pure function: what it needs to know of the host is gathered before, as [`Facts`].
//!
//! A reviewed app of the catalog brings [`Grants`], which widen exactly what they name. An administrator widens by a
//! file ([`Policy::sample`] shows all of it).

mod capability;
#[cfg(feature = "corpus")]
pub mod corpus;
pub mod effects;
mod exec;
mod facts;
mod gather;
mod grants;
mod judge;
mod own;
mod path;
mod present;
mod request;
mod rules;
pub mod strict;
mod verdict;
mod wish;

pub use exec::{ApprovedExec, ExecWish};
pub use facts::{Facts, Mounted, NetworkFact, PathFact, PathKind, VolumeFact};
pub use grants::{Grants, SocketGrant};
pub use judge::{RULES, RuleInfo};
pub use own::Own;
pub use present::Present;
pub use rules::{Policy, PolicyError};
pub use verdict::{Approved, ApprovedNetwork, Refusal, Refused};
pub use wish::{
    ContainerWish, DeviceWish, HealthWish, LogWish, MountWish, MountWishSource, NetworkWish, PortWish,
    Protocol, RestartWish,
};
