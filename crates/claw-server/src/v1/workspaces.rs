//! Workspaces: create, list, look, change, delete; history and timeline.

mod view;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use claw_core::WorkspaceId;
use claw_jobs::WorkspaceService;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::paging::Page;
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Id, Json, Query},
};
use view::{
    ChangeBody, CommitView, CreateBody, DeleteQuery, HistoryView, PageQuery, TimelineEntry, TimelineView,
    WorkspaceDetail, WorkspaceList, WorkspaceView,
};

/// Workspaces and timeline entries on a page, unless the query says otherwise.
const DEFAULT_LIMIT: u64 = 50;

/// Commits on a page, unless the query says otherwise.
const DEFAULT_COMMITS: u64 = 20;

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_workspaces, create_workspace))
        .routes(routes!(get_workspace, change_workspace, delete_workspace))
        .routes(routes!(get_workspace_history))
        .routes(routes!(get_workspace_events))
}

/// Create a workspace
#[utoipa::path(
    post, path = "/api/v1/workspaces", tag = "workspaces",
    request_body = CreateBody,
    responses(
        (status = 201, description = "The workspace with an empty repository.", body = WorkspaceView),
        (status = 400, description = "`INVALID_REQUEST`: a field has a value that is not allowed."),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
        (status = 507, description = "`STORAGE_FULL`: the disk is nearly full; try again when there is room."),
    ),
    extensions(("x-scope" = json!("workspaces:write"))),
)]
async fn create_workspace(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Json(body): Json<CreateBody>,
) -> ApiResult<(StatusCode, Json<WorkspaceView>)> {
    let workspace = workspaces.create(&caller, body.into_new()?).await?;
    Ok((StatusCode::CREATED, Json(workspace.into())))
}

/// List workspaces
///
/// By name. Only workspaces that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/workspaces", tag = "workspaces",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of workspaces, and how many there are.", body = WorkspaceList),
        (status = 400, description = "`INVALID_REQUEST`: not a number."),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn list_workspaces(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<WorkspaceList>> {
    let Page { offset, limit } = query.page(DEFAULT_LIMIT);
    let (items, total) = workspaces.list(&caller, offset, limit).await?;
    let items = items.into_iter().map(WorkspaceView::from).collect();
    Ok(Json(WorkspaceList { items, total, offset, limit }))
}

/// Get a workspace
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id.")),
    responses(
        (status = 200, description = "The workspace.", body = WorkspaceDetail),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn get_workspace(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
) -> ApiResult<Json<WorkspaceDetail>> {
    Ok(Json(workspaces.get(&caller, id).await?.into()))
}

/// Change a workspace
///
/// Name, description and `claude_md` are replaced; what is left out of the rest stays. The persistence cannot be
/// changed.
#[utoipa::path(
    put, path = "/api/v1/workspaces/{id}", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id.")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "The workspace as it is now.", body = WorkspaceView),
        (status = 400, description = "`INVALID_REQUEST`: a field has a value that is not allowed."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_CONFLICT`: someone else changed it at the same time."),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
        (status = 507, description = "`STORAGE_FULL`: the disk is nearly full; try again when there is room."),
    ),
    extensions(("x-scope" = json!("workspaces:write"))),
)]
async fn change_workspace(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
    Json(body): Json<ChangeBody>,
) -> ApiResult<Json<WorkspaceView>> {
    Ok(Json(workspaces.update(&caller, id, body.into_change()?).await?.into()))
}

/// Delete a workspace
///
/// Its jobs stay. Its files stay on disk unless `delete_files` is true.
#[utoipa::path(
    delete, path = "/api/v1/workspaces/{id}", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id."), DeleteQuery),
    responses(
        (status = 204, description = "The workspace is gone."),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or neither true nor false."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_BUSY`: jobs of it wait or run."),
    ),
    extensions(("x-scope" = json!("workspaces:write"))),
)]
async fn delete_workspace(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
    Query(query): Query<DeleteQuery>,
) -> ApiResult<Response> {
    workspaces.delete(&caller, id, query.delete_files).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Get a workspace's history
///
/// Commits, the newest first: 20 of them unless `limit` says otherwise.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/history", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id."), PageQuery),
    responses(
        (status = 200, description = "Commits.", body = HistoryView),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or not a number."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn get_workspace_history(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<HistoryView>> {
    let page = query.page(DEFAULT_COMMITS);
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let commits = workspaces.history(&caller, id, count(page.offset), count(page.limit)).await?;
    Ok(Json(HistoryView { commits: commits.into_iter().map(CommitView::from).collect() }))
}

/// Get a workspace's timeline
///
/// What happened to it, the newest first.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/events", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id."), PageQuery),
    responses(
        (status = 200, description = "Entries, and how many there are.", body = TimelineView),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or not a number."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn get_workspace_events(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<TimelineView>> {
    let Page { offset, limit } = query.page(DEFAULT_LIMIT);
    let (events, total) = workspaces.events(&caller, id, offset, limit).await?;
    let events = events.into_iter().map(TimelineEntry::from).collect();
    Ok(Json(TimelineView { events, total, limit, offset }))
}
