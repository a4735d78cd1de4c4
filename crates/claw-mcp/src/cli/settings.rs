//! Everything the program is told: flags, variables and files, in that order.

use std::{fs::File, io::Read as _};

use claw_core::Secret;

use super::{
    Problem,
    config_file::{self, KeySource},
    flags::{self, Found, Values},
};

/// The version that is printed and told to clients.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest file that is read.
const MOST_FILE_BYTES: u64 = 1024 * 1024;

/// What the command line asks for.
pub(crate) enum Told {
    Help,
    Version,
    Settings(Settings),
}

/// What the program needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hosts: Vec<HostSettings>,
    /// The hosts have names: they come from a file.
    pub(crate) named: bool,
    /// As it was given: an unknown one is told of only after the keys were looked at.
    pub(crate) transport: String,
    pub(crate) http_addr: String,
    pub(crate) sse_addr: String,
    /// The address of SSE was given, rather than left as it is.
    pub(crate) sse_addr_given: bool,
    pub(crate) sse_base_url: String,
    pub(crate) token: Option<Secret>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) read_only: bool,
}

/// A server and its key.
#[derive(Debug)]
pub(crate) struct HostSettings {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) url: String,
    pub(crate) key: Secret,
}

impl Settings {
    /// Tells whether clients come over the network.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.transport.as_str(), "http" | "sse")
    }

    /// Returns all that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        self.hosts.iter().map(|host| host.key.clone()).chain(self.token.clone()).collect()
    }
}

/// Reads the command line, and what it and the environment name.
///
/// # Errors
///
/// What is wrong, in the words of the original.
pub(crate) fn read(arguments: &[String]) -> Result<Told, Problem> {
    let values = match flags::read(arguments).map_err(Problem::Usage)? {
        Found::Help => return Ok(Told::Help),
        Found::Values(values) if values.is_on("version") => return Ok(Told::Version),
        Found::Values(values) => values,
    };
    let named = !values.text("config").is_empty();
    let hosts = if named { from_file(values.text("config"))? } else { vec![single(&values)?] };
    let token = token(&values)?;
    let text = |name| values.text(name).to_owned();
    Ok(Told::Settings(Settings {
        hosts,
        named,
        transport: text("transport"),
        http_addr: text("http-addr"),
        sse_addr: text("sse-addr"),
        sse_addr_given: values.given("sse-addr").is_some(),
        sse_base_url: text("sse-base-url"),
        token,
        allowed_hosts: values.list("allow-host").to_vec(),
        allowed_origins: values
            .list("allow-origin")
            .iter()
            .map(|text| origin(text))
            .collect::<Result<_, _>>()?,
        read_only: values.is_on("read-only"),
    }))
}

/// The one host of flags and variables.
fn single(values: &Values) -> Result<HostSettings, Problem> {
    let words = |words| Problem::Words(format!("Error: {words}"));
    let or_variable = |name, variable_name| {
        let given = values.text(name).to_owned();
        if given.is_empty() { variable(variable_name).unwrap_or_default() } else { given }
    };
    let url = or_variable("api-url", "WAGMIOS_API_URL");
    let key = match (values.text("api-key"), values.text("api-key-file")) {
        ("", "") => match variable("WAGMIOS_API_KEY") {
            Some(key) => Secret::new(key),
            None => match variable("WAGMIOS_API_KEY_FILE") {
                Some(path) => secret_file(&path).map_err(words)?,
                None => Secret::new(""),
            },
        },
        (key, "") => Secret::new(key),
        ("", path) => secret_file(path).map_err(words)?,
        _ => return Err(words("give either -api-key or -api-key-file".into())),
    };
    if url.is_empty() || key.expose().is_empty() {
        return Err(Problem::Words(
            "Error: API URL and API key are required\nUse the flags -api-url and -api-key (or -api-key-file, or -config \
             for many hosts), or the variables WAGMIOS_API_URL and WAGMIOS_API_KEY"
                .into(),
        ));
    }
    Ok(HostSettings { name: String::new(), label: String::new(), url, key })
}

/// The hosts of a file.
fn from_file(path: &str) -> Result<Vec<HostSettings>, Problem> {
    let words = |words| Problem::Words(format!("Error loading config: {words}"));
    let text = read_text(path).map_err(|problem| words(format!("read config file: {problem}")))?;
    let instances = config_file::read(&text).map_err(words)?;
    instances
        .into_iter()
        .map(|instance| {
            let key = match instance.key {
                KeySource::Here(key) => key,
                KeySource::File(path) => secret_file(&path)
                    .map_err(|problem| words(format!("{problem} (instance {})", instance.name)))?,
                KeySource::Variable(name) => match variable(&name) {
                    Some(key) => Secret::new(key),
                    None => {
                        return Err(words(format!(
                            "the variable {name} of instance {} is not set",
                            instance.name
                        )));
                    }
                },
            };
            Ok(HostSettings { name: instance.name, label: instance.label, url: instance.url, key })
        })
        .collect()
}

fn token(values: &Values) -> Result<Option<Secret>, Problem> {
    let words = |problem| Problem::Words(format!("Error: {problem}"));
    let token = match values.text("token-file") {
        "" => match variable("CLAWMACHINE_TOKEN") {
            Some(token) => Secret::new(token.trim()),
            None => return Ok(None),
        },
        path => secret_file(path).map_err(words)?,
    };
    match token.expose().len() {
        0..16 => {
            Err(words("the token is shorter than 16 characters; make one with: openssl rand -hex 32".into()))
        }
        _ => Ok(Some(token)),
    }
}

/// An origin as browsers send it. Anything else would be compared with theirs in vain.
fn origin(text: &str) -> Result<String, Problem> {
    let is_one = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.trim_end_matches('/').contains('/')
    });
    if is_one {
        return Ok(text.to_owned());
    }
    Err(Problem::Words(format!("Error: -allow-origin wants an origin like https://example.org, not {text}")))
}

/// Reads the one line of a file that holds a secret.
fn secret_file(path: &str) -> Result<Secret, String> {
    let text = read_text(path).map_err(|problem| format!("read key file: {problem}"))?;
    match text.trim() {
        "" => Err(format!("read key file: {path} is empty")),
        text if text.contains(['\n', '\r']) => Err(format!("read key file: {path} holds more than one line")),
        text => Ok(Secret::new(text)),
    }
}

fn read_text(path: &str) -> Result<String, String> {
    let told = |error| format!("open {path}: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(told)?;
    file.take(MOST_FILE_BYTES + 1).read_to_string(&mut text).map_err(told)?;
    if text.len() as u64 > MOST_FILE_BYTES {
        return Err(format!("{path} is longer than {MOST_FILE_BYTES} bytes"));
    }
    Ok(text)
}

#[expect(clippy::disallowed_methods, reason = "these are the settings of this program")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
