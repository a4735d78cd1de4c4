//! The audit trail.

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use claw_core::Timestamp;
use claw_gate::{AuditFilter, AuditResult, AuditView, Gate, Verification};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Json, Query},
};

/// Entries of a page unless asked otherwise.
const DEFAULT_LIMIT: usize = 50;

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_audit))
        .routes(routes!(export_audit))
        .routes(routes!(verify_audit))
}

/// Which entries to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// From before this entry on: `next` of the page before.
    before: Option<u64>,
    /// Only newer ones than this entry.
    after: Option<u64>,
    /// Not older than this.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Not newer than this.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// By this actor, such as `key:` and its id, `user:` and their name, or `token`.
    actor: Option<String>,
    /// Whose verb begins so, such as `job.` or `key.create`.
    verb: Option<String>,
    /// Whose target begins so, such as `job:` and its id.
    target: Option<String>,
    /// That ended so: `done`, `failed`, `denied`, `abandoned`, `unknown` or `note`.
    outcome: Option<String>,
    /// How many entries, up to 1000.
    limit: Option<usize>,
}

/// One entry of the audit trail: who did, or wanted to do, what to what, and how it went.
#[derive(Serialize, ToSchema)]
struct AuditEntryView {
    /// Its number.
    seq: u64,
    /// When it was written: before the effect.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who; empty for somebody unknown.
    actor: String,
    /// Their name for people.
    label: String,
    /// What.
    verb: String,
    /// To what.
    target: String,
    /// Address they came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Further facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    /// `done`, `failed`, `denied`, `abandoned`, `unknown` or `note`.
    outcome: &'static str,
    /// Error code of a failure or refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// When the outcome was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    settled_at: Option<Timestamp>,
    /// Further refusals of the same kind that have no entry of their own.
    more: u64,
}

impl From<AuditView> for AuditEntryView {
    fn from(entry: AuditView) -> Self {
        let AuditView { seq, at, act, result, settled_at, more } = entry;
        Self {
            seq,
            at,
            actor: act.actor,
            label: act.label,
            verb: act.verb,
            target: act.target,
            client: act.client,
            request_id: act.request,
            detail: act.detail,
            outcome: result.as_str(),
            code: result.code().map(str::to_owned),
            settled_at,
            more,
        }
    }
}

/// One page of the audit trail.
#[derive(Serialize, ToSchema)]
struct AuditPageView {
    /// The entries, newest first.
    items: Vec<AuditEntryView>,
    /// Where the next page begins, as `before`; null at the end. A page may be short and still have a next one.
    next: Option<u64>,
}

/// List the audit trail
///
/// For administrators: what was done, failed and was refused, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page.", body = AuditPageView),
        (status = 400, description = "`INVALID_REQUEST`: a filter that means nothing."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn list_audit(
    caller: Caller,
    State(gate): State<Gate>,
    Query(query): Query<AuditQuery>,
) -> ApiResult<Json<AuditPageView>> {
    if let Some(outcome) = &query.outcome
        && !AuditResult::NAMES.contains(&outcome.as_str())
    {
        let names = AuditResult::NAMES.join(", ");
        return Err(ApiError::invalid(format!("`outcome` is one of {names}")));
    }
    let filter = AuditFilter {
        before: query.before,
        after: query.after,
        since: query.since,
        until: query.until,
        actor: query.actor,
        verb: query.verb,
        target: query.target,
        outcome: query.outcome,
        limit: query.limit.unwrap_or(DEFAULT_LIMIT),
    };
    let page = gate.audit_list(&caller, filter).await?;
    Ok(Json(AuditPageView { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}

/// Where an export begins.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// After this entry; from the oldest on if left out.
    after: Option<u64>,
}

/// Export the audit trail
///
/// For administrators. JSON lines: the first tells the hash before the first record, each further one is a record with
/// its hash, byte for byte as stored. `claw audit verify --file` checks them anywhere.
#[utoipa::path(
    get, path = "/api/v1/audit/export", tag = "audit",
    params(ExportQuery),
    responses((status = 200, description = "The records.", body = String, content_type = "application/x-ndjson")),
    extensions(("x-scope" = json!("admin"))),
)]
async fn export_audit(
    caller: Caller,
    State(gate): State<Gate>,
    Query(query): Query<ExportQuery>,
) -> ApiResult<Response> {
    let lines = gate.audit_export(&caller, query.after.unwrap_or(0)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"claw-audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// What a check of the audit trail came to.
#[derive(Serialize, ToSchema)]
struct VerificationView {
    /// Whether nothing was changed.
    ok: bool,
    /// Number of the oldest record.
    first: u64,
    /// Number of the newest record.
    last: u64,
    /// The first record that does not follow from the one before it.
    broken_at: Option<u64>,
    /// Hash of the newest record. Noted elsewhere, it shows later that nothing was cut off or written anew.
    head: String,
}

impl From<Verification> for VerificationView {
    fn from(Verification { first, last, broken_at, head }: Verification) -> Self {
        Self { ok: broken_at.is_none(), first, last, broken_at, head: head.to_string() }
    }
}

/// Verify the audit trail
///
/// For administrators. Checks the hash of every record.
#[utoipa::path(
    get, path = "/api/v1/audit/verify", tag = "audit",
    responses((status = 200, description = "What the check came to.", body = VerificationView)),
    extensions(("x-scope" = json!("admin"))),
)]
async fn verify_audit(caller: Caller, State(gate): State<Gate>) -> ApiResult<Json<VerificationView>> {
    Ok(Json(gate.audit_verify(&caller).await?.into()))
}
