//! The OpenAPI document: what the handlers say about themselves, completed with what holds for all of them.

use claw_core::ErrorCode;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
        Paths, Ref, RefOr, ResponseBuilder, Tag,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
        tag::TagBuilder,
    },
};

use crate::{
    app::described_routes,
    error::{Dialect, EnvelopedError, ErrorBody, ErrorEnvelope},
};

/// Extension that names the scope an operation needs; `any` stands for any valid credential.
pub(crate) const SCOPE: &str = "x-scope";

const ABOUT: &str = "A self-hosted control plane for AI agents.\n\n\
    Send an API key in `X-API-Key` or `Authorization: Bearer`, or sign in and send the session cookie. \
    `x-scope` names the scope that an operation needs; `any` stands for any valid credential, and operations without \
    it are public.\n\n\
    `/api/v1` answers errors as `{\"error\":\"sentence\",\"code\":\"CODE\"}`, the rest of `/api` as \
    `{\"success\":false,\"data\":null,\"error\":{\"code\":\"CODE\",\"message\":\"sentence\"}}`. \
    Branch on codes: they do not change. Times are RFC 3339 in UTC.";

const TAGS: [(&str, &str); 14] = [
    ("jobs", "Submit jobs, watch them, read what they brought."),
    ("workspaces", "Git-backed folders in which jobs work."),
    ("containers", "Docker containers: what there is, and what is done to them."),
    ("images", "Docker images."),
    ("templates", "Saved descriptions of containers."),
    ("marketplace", "Apps: the catalog, what is installed, and the life of an install."),
    ("activity", "What everybody does, to look back into and to follow."),
    ("system", "The machine and its Docker Engine."),
    ("keys", "API keys and first set-up, in the homelab's dialect."),
    ("accounts", "People and their sessions."),
    ("audit", "Who did what, and what was refused."),
    ("status", "How things stand."),
    ("settings", "What administrators may change while the server runs."),
    ("pages", "Pages for people and this document."),
];

/// Returns the document that describes every route. Its version is this crate's.
pub fn openapi() -> OpenApi {
    let (_, document) = described_routes().split_for_parts();
    finish(document)
}

/// Returns the document's head, to which the routes are added.
pub(crate) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("ClawMachine")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let tags = TAGS
        .iter()
        .map(|(name, text)| -> Tag { TagBuilder::new().name(*name).description(Some(*text)).build() });
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
        "X-API-Key",
        "An API key (`wag_live_…`) or the installation's token.",
    )));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The same two.")).build();
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
        "claw_session",
        "The session of a person who signed in. Changes must come from one of the server's own pages.",
    )));
    let mut components = Components::new();
    components.add_security_scheme("apiKey", key);
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("session", cookie);
    for (name, schema) in [
        (ErrorBody::name(), ErrorBody::schema()),
        (ErrorEnvelope::name(), ErrorEnvelope::schema()),
        (EnvelopedError::name(), EnvelopedError::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    OpenApiBuilder::new().info(info).tags(Some(tags)).components(Some(components)).build()
}

/// Completes each operation: its credentials, the errors that any operation may answer, and the shape of errors.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    let mut paths = Paths::new();
    for (path, mut item) in document.paths.paths {
        let dialect = Dialect::of(&path);
        for operation in operations(&mut item) {
            complete(operation, dialect);
        }
        // The router's `{*rest}` is a parameter like others to readers.
        paths.paths.insert(path.replace("{*", "{"), item);
    }
    document.paths = paths;
    let components = document.components.get_or_insert_with(Components::new);
    for dialect in [Dialect::Plain, Dialect::Enveloped] {
        for shared in SHARED {
            let mut response = ResponseBuilder::new().description(codes(shared.codes)).build();
            response.content.insert("application/json".into(), RefOr::T(error_content(dialect)));
            components.responses.insert(shared.name(dialect), RefOr::T(response));
        }
    }
    document
}

/// An error that many operations may answer, described once.
struct Shared {
    name: &'static str,
    status: u16,
    codes: &'static [ErrorCode],
}

impl Shared {
    fn name(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Plain => self.name.to_owned(),
            Dialect::Enveloped => format!("{}Enveloped", self.name),
        }
    }
}

const UNAUTHORIZED: Shared = Shared {
    name: "Unauthorized",
    status: 401,
    codes: &[ErrorCode::ApiKeyRequired, ErrorCode::InvalidKey, ErrorCode::SetupRequired],
};
const FORBIDDEN: Shared = Shared {
    name: "Forbidden",
    status: 403,
    codes: &[ErrorCode::ScopeRequired, ErrorCode::OriginNotAllowed],
};
const FOREIGN_ORIGIN: Shared =
    Shared { name: "ForeignOrigin", status: 403, codes: &[ErrorCode::OriginNotAllowed] };
const RATE_LIMITED: Shared = Shared { name: "RateLimited", status: 429, codes: &[ErrorCode::RateLimited] };
const FOREIGN_HOST: Shared = Shared { name: "ForeignHost", status: 421, codes: &[ErrorCode::HostNotAllowed] };
const BROKEN: Shared = Shared { name: "Broken", status: 500, codes: &[ErrorCode::Internal] };
const UNAVAILABLE: Shared =
    Shared { name: "Unavailable", status: 503, codes: &[ErrorCode::StoreUnavailable] };
const SHARED: [&Shared; 7] =
    [&UNAUTHORIZED, &FORBIDDEN, &FOREIGN_ORIGIN, &RATE_LIMITED, &FOREIGN_HOST, &BROKEN, &UNAVAILABLE];

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn complete(operation: &mut Operation, dialect: Dialect) {
    let scope = operation.extensions.as_ref().and_then(|all| all.get(SCOPE)).and_then(|scope| scope.as_str());
    let mut shared = vec![&FOREIGN_HOST, &BROKEN, &UNAVAILABLE];
    if let Some(scope) = scope {
        let refusal = if scope == "any" { &FOREIGN_ORIGIN } else { &FORBIDDEN };
        shared.extend([&UNAUTHORIZED, refusal, &RATE_LIMITED]);
        operation.security = Some(
            ["apiKey", "bearer", "session"].map(|name| SecurityRequirement::new(name, [""; 0])).to_vec(),
        );
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        let is_error = status.parse::<u16>().is_ok_and(|status| status >= 400);
        if let RefOr::T(response) = response
            && is_error
            && response.content.is_empty()
        {
            response.content.insert("application/json".into(), RefOr::T(error_content(dialect)));
        }
    }
    for shared in shared {
        let reference = || RefOr::Ref(Ref::from_response_name(shared.name(dialect)));
        responses.entry(shared.status.to_string()).or_insert_with(reference);
    }
}

fn error_content(dialect: Dialect) -> Content {
    let schema = match dialect {
        Dialect::Plain => ErrorBody::name(),
        Dialect::Enveloped => ErrorEnvelope::name(),
    };
    ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(schema)))).build()
}

fn codes(codes: &[ErrorCode]) -> String {
    codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")
}
