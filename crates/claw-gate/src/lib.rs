//! Who is asking and may they: keys, users, sessions, first set-up.
//!
//! Every door hands over what it was given as a [`Credential`] and gets back a [`claw_core::Actor`]; every use case
//! asks [`Gate::permit`] before it touches anything. The decision itself is the pure [`claw_core::decide`]; this
//! crate adds what needs the store: credentials, people, and the rules on who may give which power to whom.
//!
//! What holds everywhere here:
//!
//! - Secrets are shown once and stored as hashes: keys, session cookies and the setup token as SHA-256 (they are 256
//!   random bits), passwords as Argon2id.
//! - No answer from the store means no access.
//! - Nobody grants what they do not hold, and the last way in for an administrator cannot be removed.
//! - An unknown name and a wrong password give the same answer at the same price.
//!
//! This crate knows no HTTP: headers, cookies and status codes are the server's.
//!
//! ```no_run
//! # async fn demo(store: claw_store::Store) -> Result<(), claw_gate::GateError> {
//! use std::{net::Ipv4Addr, sync::Arc};
//!
//! use claw_core::{Action, Resource, Secret, SystemClock};
//! use claw_gate::{Credential, Gate, GateConfig, SetupState};
//!
//! let config = GateConfig { api_token: None, data_dir: "/var/lib/claw".into() };
//! let gate = Gate::new(config, store, Arc::new(SystemClock))?;
//! if let SetupState::Required { token } = gate.start(None).await? {
//!     println!("finish set-up with {}", token.expose());
//! }
//!
//! let credential = Credential::ApiKey(Secret::new("wag_live_…"));
//! let actor = gate.authenticate(credential, Ipv4Addr::LOCALHOST.into()).await?;
//! gate.permit(&actor, Action::JobsRead, &Resource::Any)?;
//! # Ok(())
//! # }
//! ```

mod account;
mod audit;
mod error;
mod gate;
mod housekeeping;
mod keys;
mod limit;
mod password;
mod people;
mod recent;
mod records;
mod session_list;
mod sessions;
mod setup;
mod setup_token;
mod standing;
mod token;
mod ways_in;

pub use audit::{
    AuditFilter, AuditPage, AuditResult, AuditTrail, AuditView, Deed, EffectPlace, ExportError, Verification,
    verify_export,
};
pub use error::GateError;
pub use gate::{Credential, Gate, GateConfig};
pub use keys::{DEFAULT_GRACE, ForeignKey, Imported, KeyChange, KeyMeta, MAX_GRACE, NewKey, parse_scopes};
pub use limit::{FailureLimiter, RetryAfter};
pub use people::UserView;
pub use session_list::SessionView;
pub use sessions::SESSION_TTL;
pub use setup::{FirstAdmin, SetupState, SetupStatus};
pub use standing::Watch;
