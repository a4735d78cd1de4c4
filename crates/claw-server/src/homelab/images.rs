//! Images.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use claw_core::{ErrorCode, Timestamp};
use claw_docker::ImageEntry;
use claw_homelab::{Homelab, PullState, PullView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::{DoneView, Envelope};
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json, Name, Query},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_images))
        .routes(routes!(pull_image))
        .routes(routes!(pull_image_by_old_path))
        .routes(routes!(list_pulls))
        .routes(routes!(get_pull, cancel_pull))
        .routes(routes!(delete_image))
}

/// An image under one of its names. Members are written in lower case alone: some clients do not tell `Size` from `size`.
#[derive(Serialize, ToSchema)]
struct ImageView<'a> {
    /// Content-addressed id.
    id: &'a str,
    /// Name without tag; `<none>` without a name.
    repository: &'a str,
    /// Tag; `<none>` without a name.
    tag: &'a str,
    /// Size on disk in bytes.
    size: u64,
    /// The same for people.
    #[schema(example = "187MB")]
    size_human: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// What its registry knows it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
}

const NONE: &str = "<none>";

/// One view for each name.
fn views(image: &ImageEntry) -> impl Iterator<Item = ImageView<'_>> {
    let unnamed = image.tags.is_empty().then_some((NONE, NONE));
    let names = image.tags.iter().map(|name| name.rsplit_once(':').unwrap_or((name, NONE)));
    names.chain(unnamed).map(|(repository, tag)| ImageView {
        id: &image.id,
        repository,
        tag,
        size: image.size_bytes,
        size_human: human(image.size_bytes),
        created: image.created,
        digest: image.digests.iter().find_map(|digest| {
            let (name, digest) = digest.split_once('@')?;
            (name == repository).then_some(digest)
        }),
    })
}

/// A size as Docker's command line writes it: three digits, in powers of a thousand.
fn human(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if size < 999.5 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    let digits = if unit == "B" || size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{size:.digits$}{unit}")
}

/// List images
///
/// Each under each of its names, the newest first.
#[utoipa::path(
    get, path = "/api/images", tag = "images",
    responses(
        (status = 200, description = "The images.", body = Envelope<Vec<ImageView<'static>>>),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("images:read"))),
)]
async fn list_images(caller: Caller, State(homelab): State<Homelab>) -> ApiResult<Response> {
    let images = homelab.images.list(&caller).await?;
    let views: Vec<_> = images.iter().flat_map(views).collect();
    Ok(Envelope::of(views).into_response())
}

/// An image to pull.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PullBody {
    /// The image; `latest` without a tag.
    #[schema(example = "nginx:1.27")]
    image: String,
}

/// Whether to wait.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PullQuery {
    /// Whether to answer when the image is here, or at once.
    #[serde(default = "yes")]
    #[param(default = true)]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// How a pull stands.
#[derive(Serialize, ToSchema)]
struct PullStateView {
    /// `pulling`, `pulled` or `failed`.
    status: &'static str,
    /// The image, with its tag.
    image: String,
    /// Names the pull.
    pull_id: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// How much of what is known to be needed is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    /// What the Engine is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// Error code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<ErrorCode>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<PullView> for PullStateView {
    fn from(PullView { id, image, started_at, state }: PullView) -> Self {
        let view = Self {
            status: "pulled",
            image,
            pull_id: id,
            started_at,
            percent: None,
            step: None,
            code: None,
            reason: None,
        };
        match state {
            PullState::Pulling { percent, step } => {
                Self { status: "pulling", percent, step: Some(step), ..view }
            }
            PullState::Pulled => view,
            PullState::Failed { code, reason } => {
                Self { status: "failed", code: Some(code), reason: Some(reason), ..view }
            }
        }
    }
}

/// Pull an image
///
/// Answers when the image is here, or at once with `?wait=false`. It goes on when the caller hangs up, and whoever asks
/// for the same image meanwhile joins it. The activity feed tells how far it is.
#[utoipa::path(
    post, path = "/api/images/pull", tag = "images",
    params(PullQuery),
    request_body = PullBody,
    responses(
        (status = 200, description = "The image is here.", body = Envelope<PullStateView>),
        (status = 202, description = "It is being pulled.", body = Envelope<PullStateView>),
        (status = 400, description = "`INVALID_IMAGE`, `INVALID_REQUEST`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `POLICY_REFUSED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`: the registry has no such image."),
        (status = 422, description = "`INVALID_BODY`: `image` is missing or no text, or there is more."),
        (status = 502, description = "`IMAGE_PULL_FAILED`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn pull_image(
    caller: Caller,
    State(homelab): State<Homelab>,
    Query(PullQuery { wait }): Query<PullQuery>,
    Json(PullBody { image }): Json<PullBody>,
) -> ApiResult<Response> {
    if wait {
        let view = PullStateView::from(homelab.images.pull(&caller, &image).await?);
        // Named as it was asked for, which is what clients compare.
        return Ok(Envelope::of(PullStateView { image, ..view }).into_response());
    }
    let view = PullStateView::from(homelab.images.begin_pull(&caller, &image).await?);
    Ok((StatusCode::ACCEPTED, Envelope::of(view)).into_response())
}

/// Pull an image, by the path of older clients
#[utoipa::path(
    post, path = "/api/containers/pull", tag = "images",
    params(PullQuery),
    request_body = PullBody,
    responses(
        (status = 200, description = "The image is here.", body = Envelope<PullStateView>),
        (status = 202, description = "It is being pulled.", body = Envelope<PullStateView>),
        (status = 400, description = "`INVALID_IMAGE`, `INVALID_REQUEST`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `POLICY_REFUSED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`: the registry has no such image."),
        (status = 422, description = "`INVALID_BODY`: `image` is missing or no text, or there is more."),
        (status = 502, description = "`IMAGE_PULL_FAILED`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn pull_image_by_old_path(
    caller: Caller,
    homelab: State<Homelab>,
    query: Query<PullQuery>,
    body: Json<PullBody>,
) -> ApiResult<Response> {
    pull_image(caller, homelab, query, body).await
}

/// List pulls
///
/// Those that go on, and those that were over last, the newest first.
#[utoipa::path(
    get, path = "/api/images/pulls", tag = "images",
    responses((status = 200, description = "The pulls.", body = Envelope<Vec<PullStateView>>)),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn list_pulls(
    caller: Caller,
    State(homelab): State<Homelab>,
) -> ApiResult<Envelope<Vec<PullStateView>>> {
    let pulls = homelab.images.pulls(&caller)?;
    Ok(Envelope::of(pulls.into_iter().map(PullStateView::from).collect()))
}

/// Get how a pull stands
#[utoipa::path(
    get, path = "/api/images/pulls/{id}", tag = "images",
    params(("id" = String, Path, description = "`pull_id` of the answer that began it.")),
    responses(
        (status = 200, description = "How it stands.", body = Envelope<PullStateView>),
        (status = 404, description = "`NOT_FOUND`: it does not exist, or has been over for long."),
    ),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn get_pull(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(id): Name,
) -> ApiResult<Envelope<PullStateView>> {
    Ok(Envelope::of(homelab.images.pull_state(&caller, &id)?.into()))
}

/// Cancel a pull
///
/// For who began it or joined it: it goes on if others wait for it too, and ends otherwise.
#[utoipa::path(
    delete, path = "/api/images/pulls/{id}", tag = "images",
    params(("id" = String, Path, description = "`pull_id` of the answer that began it.")),
    responses(
        (status = 200, description = "How it stands now: `failed` if it was cancelled, `pulling` if others wait for it.", body = Envelope<PullStateView>),
        (status = 404, description = "`NOT_FOUND`: it does not exist, or has been over for long."),
    ),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn cancel_pull(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(id): Name,
) -> ApiResult<Envelope<PullStateView>> {
    Ok(Envelope::of(homelab.images.give_up_pull(&caller, &id).await?.into()))
}

/// Delete an image
///
/// One that a container uses stays. Ask the person before.
#[utoipa::path(
    delete, path = "/api/images/{id}", tag = "images",
    params(("id" = String, Path, description = "Name or id, percent-encoded: `ghcr.io%2Fteam%2Fapp:1`.")),
    responses(
        (status = 200, description = "It is gone.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: a container uses it."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("images:write"))),
)]
async fn delete_image(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(image): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.images.delete(&caller, &image).await?;
    Ok(DoneView::of("deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers_own() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1.00kB"),
            (74_800_000, "74.8MB"),
            (187_300_000, "187MB"),
            (999_600_000, "1.00GB"),
            (1_670_000_000, "1.67GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
