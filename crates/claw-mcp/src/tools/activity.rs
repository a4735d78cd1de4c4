//! What everybody does.

use claw_client::homelab::{ActivityEvent, ActivityQuery};
use claw_core::{Scope, untrusted};
use serde_json::{Value, json};

use super::{
    TOOL, schema,
    text::{self, Excerpt, Keep, MOST_BYTES},
};
use crate::{Call, Failure, Need, Outcome, Tool};

/// Events unless asked otherwise, and at the most.
const USUAL_EVENTS: u64 = 50;
const MOST_EVENTS: u64 = 500;

/// Longest line of an event, in characters. Paths can be longer.
const LINE_WIDTH: usize = 300;

pub(super) const RECENT_ACTIVITY: Tool = Tool {
    name: "recent_activity",
    description: "Show what was done on the server and by whom, the newest last.",
    need: Need::Scopes(&[Scope::SystemRead]),
    input: || {
        let properties = json!({
            "limit": schema::number(), "target": schema::text(), "before": schema::number(),
        });
        schema::arguments(properties, &[])
    },
    output: || schema::list("events"),
    run: |call| Box::pin(recent_activity(call)),
    ..TOOL
};

async fn recent_activity(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let which = ActivityQuery {
        limit: u32::try_from(arguments.count("limit", USUAL_EVENTS, MOST_EVENTS).max(1)).ok(),
        target: arguments.filled_text("target")?,
        before: arguments.number("before")?.map(|before| before as u64),
        ..ActivityQuery::default()
    };
    let page = call.client().activity(&which).await.map_err(|error| Failure::of("get activity", &error))?;
    let lines: String = page.events.iter().map(line).collect();
    let excerpt = Excerpt::of(&lines, Keep::End, MOST_BYTES);
    let events: Vec<Value> = page.events.iter().map(shown).collect();
    let mut structured = json!({ "untrusted": true, "events": events });
    text::clean_value(&mut structured);
    let outcome = Outcome::new(text::fenced("the activity feed", &excerpt.text), structured);
    Ok(match page.events.first() {
        Some(oldest) if oldest.seq > 1 => outcome.noting(format!("Older ones: before={}.", oldest.seq)),
        _ => outcome,
    })
}

fn line(event: &ActivityEvent) -> String {
    let ActivityEvent { timestamp, kind, action, target, status, agent, scope, .. } = event;
    let scope = scope.as_ref().map(|scope| format!(" (lacks {scope})")).unwrap_or_default();
    let line = format!("{timestamp} {agent}: {kind} {action} {target} {status}{scope}");
    untrusted::clean_line(&line, LINE_WIDTH) + "\n"
}

fn shown(event: &ActivityEvent) -> Value {
    json!({
        "seq": event.seq, "timestamp": event.timestamp, "type": event.kind, "action": event.action,
        "target": event.target, "status": event.status, "agent": event.agent, "actor": event.actor,
    })
}
