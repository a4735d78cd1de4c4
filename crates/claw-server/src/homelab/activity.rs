//! What everybody does: looking back.

use axum::extract::State;
use claw_core::Timestamp;
use claw_homelab::{ActivityFilter, ActivityPage, Event, EventKind, EventStatus, Homelab, MAX_EVENTS};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::Envelope;
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Query},
};

/// Events unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(list_activity))
}

/// Which events to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ActivityQuery {
    /// How many of the newest, 1 to 500.
    #[param(default = 100, minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Of this sort, such as `api_call` or `container_action`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// By this key or person: the last characters of a key, its id, or a mark such as `user:ann`.
    key: Option<String>,
    /// Of this action, such as `stop` or `DELETE`.
    action: Option<String>,
    /// Whose target begins so.
    target: Option<String>,
    /// That went so: `success`, `error`, `pending`, `client_error`, `server_error` or `unknown`.
    #[serde(alias = "status")]
    outcome: Option<String>,
    /// Not older than this.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only from before this place in the feed: `seq` of the oldest event of the page before.
    before: Option<u64>,
    /// Only from after this place in the feed.
    after: Option<u64>,
}

impl ActivityQuery {
    fn filter(self) -> ApiResult<ActivityFilter> {
        let limit = match self.limit {
            None => DEFAULT_LIMIT,
            Some(0) => return Err(ApiError::invalid(format!("`limit` is a number from 1 to {MAX_EVENTS}"))),
            // More than anybody may ask for is as much as anybody may.
            Some(limit) => usize::try_from(limit).unwrap_or(MAX_EVENTS).min(MAX_EVENTS),
        };
        Ok(ActivityFilter {
            kind: word(self.kind, "type", EventKind::WORDS, EventKind::parse)?,
            key: given(self.key),
            action: given(self.action),
            target: given(self.target),
            status: word(self.outcome, "outcome", EventStatus::WORDS, EventStatus::parse)?,
            since: self.since,
            before: self.before,
            after: self.after,
            limit,
        })
    }
}

/// Pages send what is not chosen as an empty text.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn word<T>(
    text: Option<String>,
    name: &str,
    words: &[&str],
    parse: impl Fn(&str) -> Option<T>,
) -> ApiResult<Option<T>> {
    let Some(text) = given(text) else { return Ok(None) };
    match parse(&text) {
        Some(word) => Ok(Some(word)),
        None => Err(ApiError::invalid(format!("`{name}` is one of {}", words.join(", ")))),
    }
}

/// One thing that somebody did.
#[derive(Serialize, ToSchema)]
struct EventView {
    /// Its place in the feed.
    seq: u64,
    /// Sixteen hexadecimal digits.
    id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// What sort of thing.
    #[serde(rename = "type")]
    kind: &'static str,
    /// An HTTP method, or a verb.
    action: String,
    /// A path, a container's name, an image.
    target: String,
    /// How it went.
    status: &'static str,
    /// Who, for people: the last characters of a key, or a name.
    agent: String,
    /// Who, exactly, such as `key:` and its id; left out for strangers.
    #[serde(skip_serializing_if = "String::is_empty")]
    actor: String,
    /// Further facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
    /// The scope that was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let Event { seq, id, timestamp, kind, action, target, status, agent, actor, details, scope } = event;
        let (kind, status) = (kind.as_str(), status.as_str());
        Self { seq, id, timestamp, kind, action, target, status, agent, actor, details, scope }
    }
}

/// What everybody did.
#[derive(Serialize, ToSchema)]
struct ActivityView {
    /// The newest events that match, the oldest first.
    events: Vec<EventView>,
    /// How many events are kept in all.
    total: u64,
    /// Place of the newest event ever, from which the socket goes on.
    newest: u64,
}

/// List what everybody did
#[utoipa::path(
    get, path = "/api/activity", tag = "activity",
    params(ActivityQuery),
    responses(
        (status = 200, description = "The events.", body = Envelope<ActivityView>),
        (status = 400, description = "`INVALID_REQUEST`: a filter that means nothing."),
    ),
    extensions(("x-scope" = json!("system:read"))),
)]
async fn list_activity(
    caller: Caller,
    State(homelab): State<Homelab>,
    Query(query): Query<ActivityQuery>,
) -> ApiResult<Envelope<ActivityView>> {
    let ActivityPage { events, total, newest } = homelab.activity.list(&caller, &query.filter()?).await?;
    Ok(Envelope::of(ActivityView {
        events: events.into_iter().map(EventView::from).collect(),
        total,
        newest,
    }))
}
