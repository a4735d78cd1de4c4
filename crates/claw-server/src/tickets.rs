//! Tickets with which a browser opens a socket: it can set no header there, and a key in an address ends up in logs.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::extract::Caller;

/// How long a ticket is good.
pub(crate) const TICKET_TIME: Duration = Duration::from_secs(30);

/// Most tickets that wait to be used.
const MOST: usize = 4096;

/// Tickets that wait to be used, each once.
#[derive(Default)]
pub(crate) struct Tickets {
    // A std mutex: held for a look-up, never across an await.
    waiting: Mutex<HashMap<String, (Caller, Instant)>>,
}

impl Tickets {
    /// Makes a ticket for the caller; `None` when too many wait to be used.
    pub(crate) fn issue(&self, caller: Caller) -> Option<String> {
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.retain(|_, (_, end)| *end > now);
        }
        if waiting.len() >= MOST {
            return None;
        }
        // 244 random bits.
        let ticket = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        waiting.insert(ticket.clone(), (caller, now + TICKET_TIME));
        Some(ticket)
    }

    /// Takes a ticket, which is no longer good then.
    pub(crate) fn redeem(&self, ticket: &str) -> Option<Caller> {
        let (caller, end) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)?;
        (end > Instant::now()).then_some(caller)
    }
}
