//! What jobs cost.

use axum::extract::State;
use claw_core::{Clock as _, SystemClock, Usd};
use claw_store::{SpendingFilter, SpendingGroup, SpendingRow, day_of};
use jiff::{ToSpan as _, civil::Date};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json, Query},
};

/// Days that are summed up unless asked otherwise, today included.
const DEFAULT_DAYS: i32 = 30;

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_spending))
}

/// By what spending is summed up.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum GroupName {
    /// One row a day, in order.
    #[default]
    Day,
    /// One row a workspace, dearest first.
    Workspace,
    /// One row a model, dearest first.
    Model,
    /// One row an owner, dearest first: `key:` and its id, `user:` and their name, or `token`.
    Key,
}

impl From<GroupName> for SpendingGroup {
    fn from(name: GroupName) -> Self {
        match name {
            GroupName::Day => Self::Day,
            GroupName::Workspace => Self::Workspace,
            GroupName::Model => Self::Model,
            GroupName::Key => Self::Owner,
        }
    }
}

/// What to sum up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SpendingQuery {
    /// First day (UTC); thirty days up to today if left out.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<Date>,
    /// Last day (UTC), included; today if left out.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<Date>,
    /// `day`, `workspace`, `model` or `key`.
    #[param(inline)]
    group_by: Option<GroupName>,
    /// Of this owner alone, for administrators; others see their own.
    owner: Option<String>,
}

/// A sum.
#[derive(Serialize, ToSchema)]
struct SpendingRowView {
    /// What it is the sum of: a date, a workspace's id, a model's name, or an owner.
    key: String,
    /// Runs of jobs that ended; 0 when grouped by model.
    runs: u64,
    /// Model turns.
    turns: u64,
    /// Tokens the model read, not from its cache.
    input_tokens: u64,
    /// Tokens the model wrote.
    output_tokens: u64,
    /// Tokens put into the model's cache.
    cache_write_tokens: u64,
    /// Tokens read from the model's cache.
    cache_read_tokens: u64,
    /// Cost in US dollars.
    cost_usd: f64,
}

impl From<SpendingRow> for SpendingRowView {
    fn from(SpendingRow { key, runs, turns, tokens, cost }: SpendingRow) -> Self {
        Self {
            key,
            runs,
            turns,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cache_write_tokens: tokens.cache_write_5m + tokens.cache_write_1h,
            cache_read_tokens: tokens.cache_read,
            cost_usd: cost.dollars(),
        }
    }
}

/// What was spent.
#[derive(Serialize, ToSchema)]
struct SpendingView {
    /// First day (UTC).
    #[schema(value_type = String, format = Date)]
    from: Date,
    /// Last day (UTC), included.
    #[schema(value_type = String, format = Date)]
    to: Date,
    /// By what it is summed up.
    #[schema(inline)]
    group_by: GroupName,
    /// The sums.
    items: Vec<SpendingRowView>,
    /// Cost of all of it in US dollars.
    total_usd: f64,
}

/// Sum up what jobs cost
///
/// As the model gateway metered it, failed and cancelled runs included. Administrators see everyone's, others their own.
#[utoipa::path(
    get, path = "/api/v1/spending", tag = "jobs",
    params(SpendingQuery),
    responses(
        (status = 200, description = "The sums.", body = SpendingView),
        (status = 400, description = "`INVALID_REQUEST`: days that are none, the wrong way round, or too many."),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn get_spending(
    caller: Caller,
    State(server): State<Server>,
    Query(query): Query<SpendingQuery>,
) -> ApiResult<Json<SpendingView>> {
    let to = query.to.unwrap_or_else(|| day_of(SystemClock.now()));
    let from = query.from.unwrap_or_else(|| to.saturating_sub((DEFAULT_DAYS - 1).days()));
    let group_by = query.group_by.unwrap_or_default();
    let filter = SpendingFilter { from, to, owner: query.owner, group: group_by.into() };
    let rows = server.spending().spending(&caller, filter).await?;
    let total: Usd = rows.iter().map(|row| row.cost).sum();
    let items = rows.into_iter().map(Into::into).collect();
    Ok(Json(SpendingView { from, to, group_by, items, total_usd: total.dollars() }))
}
