//! Doing something on the record.

use std::net::IpAddr;

use claw_core::{Action, Actor, AuditAct, AuditEnd, Coded, DeedId, Resource};
use futures_util::future::join;
use serde_json::Value;

use super::{AuditTrail, writer::Settled};
use crate::{Gate, GateError};

/// Something that changes something.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// The operation, as the gate decides about it.
    pub action: Action,
    /// Its name in the trail, such as `job.submit`.
    pub verb: &'static str,
    /// What it touches, as the gate decides about it.
    pub resource: Resource,
    /// What it touches, as the trail shows it, such as `job:` and its id; empty for nothing in particular.
    pub target: String,
    /// Where it takes effect.
    pub place: EffectPlace,
    /// Further facts for the trail. Never a secret, never the text of a prompt or file.
    pub detail: Option<Value>,
}

/// Where a deed takes effect, which decides how the trail goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectPlace {
    /// In our store alone. Its writes take effect in the order in which they were begun, so it is enough to begin the
    /// intent's first: both are on disk together, and the effect never without the intent.
    Store,
    /// Somewhere else too: files, git, Docker. The intent is on disk before the effect begins.
    Outside,
}

impl Deed {
    fn into_act(self, actor: &Actor) -> AuditAct {
        act(actor, self.verb, self.target, self.detail)
    }
}

/// Returns the record of `actor` doing something.
pub(crate) fn act(actor: &Actor, verb: &str, target: String, detail: Option<Value>) -> AuditAct {
    AuditAct {
        actor: actor.owner(),
        label: actor.label.clone(),
        verb: verb.to_owned(),
        target,
        client: actor.origin.client.map(|address| address.to_string()),
        request: actor.origin.request.clone(),
        detail,
    }
    .tamed()
}

/// Returns the record of somebody doing something whom nobody knows yet.
pub(crate) fn anonymous(verb: &str, client: IpAddr) -> AuditAct {
    AuditAct { verb: verb.to_owned(), client: Some(client.to_string()), ..AuditAct::default() }
}

impl Gate {
    /// Decides about `deed`, writes the intent, lets `effect` happen, and writes how it went. A refusal is written too,
    /// and `effect` is not begun then.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] and [`GateError::NotTheirs`] as [`Gate::permit`]; [`GateError::Store`] if the intent
    /// cannot be written; whatever `effect` returns.
    ///
    /// With [`EffectPlace::Outside`] nothing has happened then. With [`EffectPlace::Store`] intent and effect nearly
    /// always fail together, since the same writer takes both. When the store took the effect but not the intent before
    /// it (a full disk on which room came free in between), the intent is written once more; if that fails too, the
    /// caller gets the error although the effect is there, as with any write whose answer was lost, and the log tells.
    pub async fn perform<T, E>(
        &self,
        actor: &Actor,
        deed: Deed,
        effect: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        E: From<GateError> + Coded,
    {
        self.permit_for(actor, deed.action, &deed.resource, deed.verb, &deed.target)?;
        let place = deed.place;
        self.record(deed.into_act(actor), place, effect).await
    }

    /// The part of [`Gate::perform`] after the decision.
    pub(crate) async fn record<T, E>(
        &self,
        act: AuditAct,
        place: EffectPlace,
        effect: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        E: From<GateError> + Coded,
    {
        let trail = self.audit();
        let id = DeedId::new();
        let mut settling = Settling { trail, id, end: Some(AuditEnd::Abandoned) };
        let intent = match AuditTrail::intent(id, act) {
            Ok(intent) => intent,
            Err(error) => {
                settling.end = None;
                return Err(GateError::from(error).into());
            }
        };
        let outcome = match place {
            EffectPlace::Outside => {
                if let Err(error) = trail.intend(intent).await {
                    settling.end = None;
                    return Err(GateError::from(error).into());
                }
                effect.await
            }
            EffectPlace::Store => {
                // `join` polls in order, so the intent's write is begun first.
                let (written, outcome) = join(trail.intend(intent.clone()), effect).await;
                match (written, outcome) {
                    (Ok(()), outcome) => outcome,
                    (Err(_), Ok(value)) => {
                        // They went in different batches, and room came free in between. What happened must not be
                        // without its intent.
                        match trail.intend(intent).await {
                            Ok(()) => Ok(value),
                            Err(error) => {
                                tracing::error!(%error, "something was done that the audit trail does not show");
                                Err(GateError::from(error).into())
                            }
                        }
                    }
                    (Err(_), Err(error)) => {
                        settling.end = None;
                        return Err(error);
                    }
                }
            }
        };
        settling.end = Some(match &outcome {
            Ok(_) => AuditEnd::Done,
            Err(error) => AuditEnd::Failed { code: error.code().as_str().to_owned() },
        });
        outcome
    }
}

/// Tells how a deed went when it goes out of scope, also if whoever asked went away in the middle.
struct Settling<'a> {
    trail: &'a AuditTrail,
    id: DeedId,
    end: Option<AuditEnd>,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.trail.settle(Settled { intent: self.id, end });
        }
    }
}
