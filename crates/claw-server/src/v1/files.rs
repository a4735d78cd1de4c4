//! Files of workspaces. Their content is an agent's: no browser may take it for a page or script of ours.

mod media;

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use claw_core::{ErrorCode, RepoPath, WorkspaceId};
use claw_jobs::WorkspaceService;
use claw_workspace::{FileEntry, Listing};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, FileId, Id, Json, Query},
};

/// Largest body that writes a file: 32 MiB of content and what JSON needs around it.
const MAX_WRITE_BYTES: usize = 33 * 1024 * 1024;

/// Content of files runs nothing, loads nothing and belongs to no origin.
const SANDBOX_CSP: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");

/// What RFC 8187 lets stand unencoded in `filename*`.
const FILE_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_files))
        .routes(routes!(read_file, write_file, delete_file).layer(DefaultBodyLimit::max(MAX_WRITE_BYTES)))
}

/// A file or folder.
#[derive(Serialize, ToSchema)]
struct FileView {
    /// Its path inside the workspace.
    path: String,
    /// Whether it is a folder.
    is_dir: bool,
    /// Its size in bytes; 0 for folders.
    size: u64,
}

impl From<FileEntry> for FileView {
    fn from(entry: FileEntry) -> Self {
        let is_dir = entry.is_dir();
        Self { path: entry.path, is_dir, size: entry.size }
    }
}

/// A workspace's files.
#[derive(Serialize, ToSchema)]
struct FileList {
    /// Files and folders, each folder before what is in it.
    files: Vec<FileView>,
    /// Whether there are more than are listed.
    truncated: bool,
}

/// List a workspace's files
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/files", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's id.")),
    responses(
        (status = 200, description = "Files and folders.", body = FileList),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn list_files(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    Id(id): Id<WorkspaceId>,
) -> ApiResult<Json<FileList>> {
    let Listing { files, truncated, .. } = workspaces.files(&caller, id).await?;
    Ok(Json(FileList { files: files.into_iter().map(FileView::from).collect(), truncated }))
}

/// How to return a file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReadQuery {
    /// Return the bytes themselves. What a browser could run (HTML, SVG, XML, scripts, style sheets) comes as plain text.
    #[serde(default)]
    raw: bool,
    /// Return the bytes as a download.
    #[serde(default)]
    download: bool,
}

/// A text file.
#[derive(Serialize, ToSchema)]
struct FileContent {
    /// Its path inside the workspace.
    path: String,
    /// Its content.
    content: String,
}

/// Read a file
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/files/{*path}", tag = "workspaces",
    params(
        ("id" = String, Path, description = "The workspace's id."),
        ("path" = String, Path, description = "The file's path inside the workspace; it may hold slashes."),
        ReadQuery,
    ),
    responses(
        (status = 200, description = "The content of a text file, or the bytes of any file.", content(
            (FileContent = "application/json"), (Vec<u8> = "application/octet-stream"),
        )),
        (status = 400, description = "`INVALID_REQUEST`: a folder."),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_NOT_ALLOWED`: the path leaves the workspace, or names a link or git's own folder."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`, `FILE_NOT_FOUND`"),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`: more than 32 MiB."),
        (status = 422, description = "`FILE_NOT_TEXT`: use `raw` or `download`."),
    ),
    extensions(("x-scope" = json!("workspaces:read"))),
)]
async fn read_file(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    file: FileId,
    Query(query): Query<ReadQuery>,
) -> ApiResult<Response> {
    let FileId { workspace, path } = file;
    let bytes = workspaces.read_file(&caller, workspace, &path).await?;
    if query.raw || query.download {
        return Ok(bytes_of(&path, bytes, query.download));
    }
    match String::from_utf8(bytes) {
        Ok(content) => Ok(Json(FileContent { path: path.to_string(), content }).into_response()),
        Err(_) => {
            let message = format!("`{path}` is not UTF-8 text: read it with `raw=true` or `download=true`");
            Err(ApiError::new(ErrorCode::FileNotText, message))
        }
    }
}

fn bytes_of(path: &RepoPath, bytes: Vec<u8>, download: bool) -> Response {
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    let (kind, media_type) =
        if download { ("attachment", media::type_of(name)) } else { ("inline", media::inert_type_of(name)) };
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX_CSP);
    let disposition = format!("{kind}; filename*=UTF-8''{}", utf8_percent_encode(name, FILE_NAME));
    // Percent encoding leaves only ASCII.
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// A file's new content.
#[derive(Deserialize, ToSchema)]
struct WriteBody {
    /// The text.
    content: String,
}

/// Write a file
///
/// Folders above it are made. The change is committed.
#[utoipa::path(
    put, path = "/api/v1/workspaces/{id}/files/{*path}", tag = "workspaces",
    params(
        ("id" = String, Path, description = "The workspace's id."),
        ("path" = String, Path, description = "The file's path inside the workspace; it may hold slashes."),
    ),
    request_body = WriteBody,
    responses(
        (status = 204, description = "Written and committed."),
        (status = 400, description = "`INVALID_REQUEST`: a folder, or below a file."),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_NOT_ALLOWED`: the path leaves the workspace, or names git's own folder."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_CONFLICT`: others changed the workspace at the same time; try again."),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`"),
        (status = 422, description = "`INVALID_BODY`: `content` is missing or no text."),
        (status = 507, description = "`STORAGE_FULL`: the disk is nearly full; try again when there is room."),
    ),
    extensions(("x-scope" = json!("workspaces:write"))),
)]
async fn write_file(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    FileId { workspace, path }: FileId,
    Json(body): Json<WriteBody>,
) -> ApiResult<StatusCode> {
    workspaces.write_file(&caller, workspace, &path, body.content.as_bytes()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a file or folder
///
/// The change is committed.
#[utoipa::path(
    delete, path = "/api/v1/workspaces/{id}/files/{*path}", tag = "workspaces",
    params(
        ("id" = String, Path, description = "The workspace's id."),
        ("path" = String, Path, description = "The path inside the workspace; it may hold slashes."),
    ),
    responses(
        (status = 204, description = "Deleted and committed."),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_NOT_ALLOWED`: the path leaves the workspace, or names git's own folder."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`, `FILE_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_CONFLICT`: others changed the workspace at the same time; try again."),
        (status = 507, description = "`STORAGE_FULL`: the disk is nearly full; try again when there is room."),
    ),
    extensions(("x-scope" = json!("workspaces:write"))),
)]
async fn delete_file(
    caller: Caller,
    State(workspaces): State<WorkspaceService>,
    FileId { workspace, path }: FileId,
) -> ApiResult<StatusCode> {
    workspaces.delete_file(&caller, workspace, &path).await?;
    Ok(StatusCode::NO_CONTENT)
}
