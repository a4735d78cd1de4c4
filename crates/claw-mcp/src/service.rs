//! The protocol: which tools a request sees, and calls of them.

use std::{borrow::Cow, sync::Arc};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
        ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{Access, Arguments, Call, Effect, Host, Hosts, Need, Progress, Tool, tools};

/// How a service differs from the usual.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hide every tool that changes something.
    pub read_only: bool,
    /// The version that clients are told; this crate's when empty.
    pub version: String,
}

/// An MCP server over the hosts of an [`Access`].
#[derive(Clone, Debug)]
pub struct McpService<A> {
    access: Arc<A>,
    options: Options,
}

impl<A: Access> McpService<A> {
    /// Returns a service.
    pub fn new(access: A, options: Options) -> Self {
        Self { access: Arc::new(access), options }
    }

    fn offers(&self, tool: &Tool) -> bool {
        !self.options.read_only || tool.effect == Effect::Reads
    }
}

/// The hosts on which `tool` may be used.
fn permitting<'a>(hosts: &'a Hosts, tool: &Tool) -> Vec<&'a Arc<Host>> {
    hosts
        .iter()
        .filter(|host| match tool.need {
            Need::Scopes(scopes) => {
                let standing = host.standing();
                scopes.iter().all(|scope| standing.permits(*scope))
            }
            Need::AnyKey | Need::NamedHosts => true,
        })
        .collect()
}

fn shown(tool: &Tool, hosts: &Hosts) -> Option<rmcp::model::Tool> {
    let permitting = permitting(hosts, tool);
    let missing = match tool.need {
        Need::NamedHosts => !hosts.are_named(),
        Need::AnyKey => false,
        Need::Scopes(_) => permitting.is_empty(),
    };
    if missing {
        return None;
    }
    let mut input = object((tool.input)());
    if hosts.are_named() && tool.need != Need::NamedHosts {
        let names: Vec<&str> = permitting.iter().map(|host| host.name()).collect();
        add_host(&mut input, &names);
    }
    let mut shown = rmcp::model::Tool::new(tool.name, tool.description, Arc::new(input));
    shown.title = Some(tool.title.to_owned());
    shown.output_schema = Some(Arc::new(object((tool.output)())));
    shown.annotations = Some(
        ToolAnnotations::new()
            .read_only(tool.effect == Effect::Reads)
            .destructive(tool.effect == Effect::Destroys)
            .idempotent(matches!(tool.effect, Effect::Reads | Effect::Sets))
            .open_world(tool.open_world),
    );
    Some(shown)
}

fn add_host(input: &mut JsonObject, names: &[&str]) {
    let description = format!("Host: {}", names.join("/"));
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        properties
            .insert("host".into(), json!({"type": "string", "enum": names, "description": description}));
    }
    if let Some(Value::Array(required)) = input.get_mut("required") {
        required.push(json!("host"));
    }
}

fn blocks(text: String, note: Option<String>) -> Vec<ContentBlock> {
    std::iter::once(text).chain(note).map(ContentBlock::text).collect()
}

fn object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

impl<A: Access> ServerHandler for McpService<A> {
    fn get_info(&self) -> ServerConfig {
        let version = match self.options.version.as_str() {
            "" => env!("CARGO_PKG_VERSION"),
            version => version,
        };
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("ClawMachine", version))
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let hosts = self.access.hosts(&context.extensions).await?;
        let tools = tools::ALL
            .iter()
            .filter(|tool| self.offers(tool))
            .filter_map(|tool| shown(tool, &hosts))
            .collect();
        let mut list = ListToolsResult::with_all_items(tools);
        list.cache_scope = Some(CacheScope::Private);
        Ok(list)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let hosts = self.access.hosts(&context.extensions).await?;
        let unknown = || {
            let message = format!("tool '{}' not found: tool not found", request.name);
            ErrorData::invalid_params(Cow::Owned(message), None)
        };
        let tool = tools::find(&request.name).filter(|tool| self.offers(tool)).ok_or_else(unknown)?;
        let permitting = permitting(&hosts, tool);
        let host = permitting.first().copied().cloned().ok_or_else(unknown)?;
        let arguments = Arguments(request.arguments.clone().unwrap_or_default());
        let call = Call { host, hosts, arguments, progress: Progress::default(), stop: context.ct.clone() };
        let result = match (tool.run)(call).await {
            Ok(outcome) => {
                let mut result = CallToolResult::success(blocks(outcome.text, outcome.note));
                result.structured_content = Some(outcome.structured);
                result
            }
            Err(failure) => CallToolResult::error(blocks(failure.text, failure.note)),
        };
        Ok(result.into())
    }
}
